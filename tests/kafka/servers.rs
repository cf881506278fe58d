//! Connect, the broker and MySQL are killed under load, one after the other.

use cachefront::kafka::KafkaSettings;
use cachefront_testkit::connector::Servers;
use cachefront_testkit::server::{Connect, Kafka, MySql};
use cachefront_testkit::shop::{PATIENCE, Shop};
use cachefront_testkit::{stack, wait};
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::traffic::{ROWS, Traffic, errors_of, recovered, run_with, say, warm};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_and_the_broker_are_killed_under_load_without_a_loss() {
    let mut kafka = Kafka::start().await;
    let mut connect = Connect::start(&kafka.brokers()).await;
    let servers = Servers::private(connect.rest(), &kafka.brokers(), &stack::mysql_url());
    let shop = Shop::open(ROWS).await.over_kafka(&servers).await;
    let cache = shop.cache().await;
    let cdc = shop.run(&cache).await;
    let errors = errors_of(&cdc);
    let traffic = Traffic::start(&shop, &cache).await;
    let connector = shop.connector.as_ref().expect("a connector");
    connector.rest().wait_for_offset(connector.name()).await;
    // What is on the topics before this commit, a first snapshot among it, has been read then.
    recovered(&shop, "the connector streams", Instant::now()).await;
    let flushes = cdc.status().flushes_total;

    let since = Instant::now();
    connect.kill();
    traffic.more().await;
    connect.restart().await;
    recovered(&shop, "Connect was killed", since).await;
    traffic.more().await;

    let since = Instant::now();
    connect.stop().await;
    traffic.more().await;
    connect.restart().await;
    recovered(&shop, "Connect was stopped orderly", since).await;
    traffic.more().await;

    let since = Instant::now();
    kafka.kill();
    traffic.more().await;
    kafka.restart().await;
    recovered(&shop, "the broker was killed", since).await;
    traffic.more().await;

    assert_eq!(cdc.status().flushes_total, flushes, "a flush without a loss: {errors:?}");
    let updates = traffic.updates();
    traffic.rest(&shop, &cache).await;
    let delivered = cdc.status().events_total;
    say(&format!("{updates} rows were updated, and {delivered} events applied"));
}

/// Restarts the task as soon as it has failed, as the watchdog does.
async fn revive(shop: &Shop) {
    let connector = shop.connector.as_ref().expect("a connector");
    connector.rest().wait_failed(connector.name()).await;
    connector.rest().restart_failed(connector.name()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_is_killed_and_loses_its_log() {
    let mut mysql = MySql::start(&["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]).await;
    let brokers = stack::kafka_brokers();
    let mut connect = Connect::start(&brokers).await;
    let servers = Servers::private(connect.rest(), &brokers, &mysql.url());
    let shop = Shop::open_on(&mysql.url(), &stack::redis_url(), ROWS).await.over_kafka(&servers).await;
    let cache = shop.cache().await;
    let cdc = run_with(&shop, &cache, KafkaSettings::default()).await;
    let errors = errors_of(&cdc);
    let traffic = Traffic::start(&shop, &cache).await;
    let connector = shop.connector.as_ref().expect("a connector");
    connector.rest().wait_for_offset(connector.name()).await;
    // What is on the topics before this commit, a first snapshot among it, has been read then.
    recovered(&shop, "the connector streams", Instant::now()).await;
    let flushes = cdc.status().flushes_total;

    let since = Instant::now();
    mysql.kill();
    mysql.restart().await;
    recovered(&shop, "MySQL was killed", since).await;
    traffic.more().await;

    let since = Instant::now();
    mysql.stop().await;
    mysql.restart().await;
    revive(&shop).await;
    recovered(&shop, "MySQL was restarted orderly", since).await;
    traffic.more().await;
    assert_eq!(cdc.status().flushes_total, flushes, "a flush without a loss: {errors:?}");
    traffic.rest(&shop, &cache).await;

    // All rows are cached. Some are changed and some deleted, in a part of the log that the connector has not read.
    warm(&cache).await;
    let since = Instant::now();
    connect.kill();
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    conn.query_drop("UPDATE item SET value = value + 1 WHERE id <= 50").await.expect("rows are updated");
    conn.query_drop("DELETE FROM item WHERE id BETWEEN 51 AND 60").await.expect("rows are deleted");
    assert!(!shop.stale(&cache).await.stale.is_empty(), "no entry became stale: the test proves nothing");
    assert!(cache.peek(&55).await.expect("a value").is_some(), "it was not cached: the test proves nothing");
    mysql.purge_binlogs().await;
    connect.restart().await;
    wait::until("the new snapshot flushes everything", PATIENCE, || cdc.status().flushes_total > flushes).await;
    recovered(&shop, "the log was purged while Connect was down", since).await;
    shop.settle().await;
    let audit = shop.stale(&cache).await;
    assert!(audit.stale.is_empty(), "{audit:?}");
    for id in 51..=60 {
        let kept = cache.peek(&id).await.expect("a value");
        assert!(
            kept.as_ref().is_none_or(|hit| hit.value.is_none()),
            "the row {id} was deleted and is served: {kept:?}"
        );
    }
    let more = cdc.status().flushes_total - flushes;
    say(&format!("{more} flushes for one new snapshot: {:?}", errors.lock().expect("unpoisoned")));
    assert!(more <= 2, "a snapshot must not flush everything repeatedly");
}
