//! Records are gone, never arrive, or cannot be decoded: everything is flushed, once, and the reason is reported.

use std::time::Duration;

use cachefront::binlog::read_position;
use cachefront::kafka::KafkaSettings;
use cachefront::{Cache, CdcHandle};
use cachefront_testkit::connector::{Connector, Servers};
use cachefront_testkit::server::kafka::Topics;
use cachefront_testkit::shop::{PATIENCE, Shop};
use cachefront_testkit::wait;
use mysql_async::prelude::Queryable;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::Instant;

use crate::traffic::{DROPS_ROWS, ROWS, Traffic, applies, errors_of, flushed, recovered, run_with, said, say, warm};

fn connector(shop: &Shop) -> &Connector {
    shop.connector.as_ref().expect("a connector")
}

/// Changes the first 50 rows without an invalidator, and waits until all changes are on Kafka.
async fn change_unseen(shop: &Shop, cache: &Cache<u64, u64>) {
    warm(cache).await;
    let (topics, topic) = (Topics::of(connector(shop).brokers()), connector(shop).topic("item"));
    let end = topics.end(&topic, 0);
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    conn.query_drop("UPDATE item SET value = value + 1 WHERE id <= 50").await.expect("rows are updated");
    wait::until("the changes are on Kafka", PATIENCE, || topics.end(&topic, 0) >= end + 50).await;
    assert_eq!(shop.stale(cache).await.stale.len(), 50, "no entry became stale: the test proves nothing");
}

/// Deletes the topic of the rows. The connector creates it again with its next write.
async fn delete_topic(shop: &Shop) {
    let connector = connector(shop);
    // Its producer would create the topic again before the source could notice the deletion.
    connector.rest().pause(connector.name()).await;
    Topics::of(connector.brokers()).delete(&[&connector.topic("item")]).await;
}

async fn resume(shop: &Shop) {
    connector(shop).rest().resume(connector(shop).name()).await;
}

/// Starts an invalidator that must flush everything, and checks for stale entries.
async fn starts_with_a_flush(shop: &Shop, cache: &Cache<u64, u64>, what: &str) -> CdcHandle {
    let since = Instant::now();
    let cdc = run_with(shop, cache, KafkaSettings::default()).await;
    recovered(shop, what, since).await;
    shop.settle().await;
    assert_eq!(cdc.status().flushes_total, 1, "{:?}", cdc.status());
    let audit = shop.stale(cache).await;
    assert!(audit.stale.is_empty(), "{audit:?}");
    cdc
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_created_again_or_truncated_is_a_gap() {
    let shop = Shop::open(ROWS).await.over_kafka(&Servers::shared()).await;
    let cache = shop.cache().await;
    let cdc = run_with(&shop, &cache, KafkaSettings::default()).await;
    let errors = errors_of(&cdc);
    let traffic = Traffic::start(&shop, &cache).await;
    let (before, since) = (cdc.status().flushes_total, Instant::now());
    delete_topic(&shop).await;
    flushed(&cdc, before).await;
    resume(&shop).await;
    recovered(&shop, "a topic was deleted and created again", since).await;
    assert!(said(&errors, &[&connector(&shop).topic("item"), "deleted"]), "{errors:?}");
    traffic.more().await;
    traffic.rest(&shop, &cache).await;
    assert!(cdc.status().flushes_total <= before + 2, "{errors:?}");
    cdc.shutdown().await;

    change_unseen(&shop, &cache).await;
    delete_topic(&shop).await;
    resume(&shop).await;
    starts_with_a_flush(&shop, &cache, "a topic was deleted while no consumer ran").await.shutdown().await;

    change_unseen(&shop, &cache).await;
    let (topics, topic) = (Topics::of(connector(&shop).brokers()), connector(&shop).topic("item"));
    topics.delete_records(&topic, 0, topics.end(&topic, 0)).await;
    starts_with_a_flush(&shop, &cache, "retention removed records while no consumer ran").await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counted_events_that_never_arrive_are_a_gap() {
    let mut shop = Shop::open(ROWS).await;
    shop.connector = Some(Connector::start_with(&Servers::shared(), &shop.database, &["item"], &DROPS_ROWS).await);
    let cache = shop.cache().await;
    let settings = KafkaSettings::default().with_completion_timeout(Duration::from_secs(1));
    let cdc = run_with(&shop, &cache, settings).await;
    let errors = errors_of(&cdc);
    for round in 1..=2 {
        warm(&cache).await;
        let (before, since) = (cdc.status().flushes_total, Instant::now());
        shop.increment(round).await;
        flushed(&cdc, before).await;
        say(&format!("a lost event was noticed {:.1} s after its commit", since.elapsed().as_secs_f64()));
        shop.settle().await;
        let audit = shop.stale(&cache).await;
        assert!(audit.stale.is_empty(), "{audit:?}");
        assert_eq!(cdc.status().flushes_total, before + 1, "{errors:?}");
    }
    assert!(said(&errors, &["has 1 events of", ".item, and only 0 were read"]), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undecodable_record_flushes_everything_once() {
    let shop = Shop::open(ROWS).await.over_kafka(&Servers::shared()).await;
    let cache = shop.cache().await;
    let cdc = run_with(&shop, &cache, KafkaSettings::default()).await;
    let errors = errors_of(&cdc);
    let traffic = Traffic::start(&shop, &cache).await;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", connector(&shop).brokers()).create().expect("a producer");
    for topic in [connector(&shop).topic("item"), connector(&shop).transaction_topic()] {
        for garbage in ["\u{0}garbage", r#"{"op":"u","after":{"id":[1]},"source":7}"#] {
            let (before, since) = (cdc.status().flushes_total, Instant::now());
            let record = FutureRecord::to(&topic).key(garbage).payload(garbage);
            let sent = producer.send(record, PATIENCE).await.expect("the broker accepts it");
            flushed(&cdc, before).await;
            recovered(&shop, "a record could not be decoded", since).await;
            assert!(said(&errors, &[&topic, &sent.offset.to_string()]), "offset {}: {errors:?}", sent.offset);
            traffic.more().await;
            assert_eq!(cdc.status().flushes_total, before + 1, "it flushes repeatedly: {errors:?}");
        }
    }
    traffic.rest(&shop, &cache).await;
    let last = errors.lock().expect("unpoisoned").last().cloned();
    say(&format!("last error: {last:?}"));
}

/// The definition of the shop's table.
const ITEM: &str = "CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY, value BIGINT UNSIGNED NOT NULL)";

/// A connector that records definitions of captured tables only: its RENAME has the new name, and so leaves no record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_renamed_away_and_created_again_is_flushed() {
    let mut shop = Shop::open(ROWS).await;
    let captured_only = [("schema.history.internal.store.only.captured.tables.ddl", "true")];
    shop.connector = Some(Connector::start_with(&Servers::shared(), &shop.database, &["item"], &captured_only).await);
    let cache = shop.cache().await;
    let cdc = run_with(&shop, &cache, KafkaSettings::default()).await;
    recovered(&shop, "the start", Instant::now()).await;
    warm(&cache).await;
    assert!(cache.peek(&7).await.expect("the store is there").is_some(), "nothing is cached: the test proves nothing");
    shop.database.execute("RENAME TABLE item TO item_old").await;
    shop.database.execute(ITEM).await;
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    let (token, _) = read_position(&mut conn).await.expect("a position");
    applies(&shop, &token).await;
    // The record of a definition may be read after the marker behind it.
    wait::until_async("no former row is served", Duration::from_secs(20), async || {
        cache.get(&7).at_least(&token).await.expect("a read").is_none()
    })
    .await;
    cdc.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_created_again_is_covered_again_over_kafka() {
    let shop = Shop::open(ROWS).await.over_kafka(&Servers::shared()).await;
    let cache = shop.cache().await;
    let cdc = run_with(&shop, &cache, KafkaSettings::default()).await;
    for statement in ["RENAME TABLE item TO item_old", "DROP TABLE item"] {
        recovered(&shop, statement, Instant::now()).await;
        warm(&cache).await;
        shop.database.execute(statement).await;
        wait::until("the cache is not covered", PATIENCE, || !cdc.status().not_covered.is_empty()).await;
        shop.database.execute(ITEM).await;
        wait::until("it is covered again", PATIENCE, || cdc.status().not_covered.is_empty()).await;
        assert_eq!(cache.get(&7).await.expect("a read"), None, "{statement}");
        shop.database.execute("INSERT INTO item VALUES (1, 1), (7, 9)").await;
        wait::until_async("new rows are served", PATIENCE, async || cache.get(&7).await.expect("a read") == Some(9))
            .await;
    }
    cdc.shutdown().await;
}
