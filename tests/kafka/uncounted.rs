//! Records that no transaction counts, and counted events that never arrive.

use std::time::Duration;

use cachefront::binlog::BinlogSource;
use cachefront::kafka::{KafkaSettings, KafkaSource, KafkaSourceBuilder};
use cachefront::{Cache, Tier};
use cachefront_core::source::{ChangeSource, Lead};
use cachefront_testkit::connector::{Connector, MARKER_COLUMN, Servers};
use cachefront_testkit::shop::{PATIENCE, Shop};
use cachefront_testkit::{unique, wait};
use mysql_async::prelude::Queryable;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::traffic::{DROPS_ROWS, ROWS, errors_of, flushed, recovered, run_source, run_with, said, say, warm};

fn builder(connector: &Connector, completion_timeout: Duration) -> KafkaSourceBuilder {
    let settings = KafkaSettings::default().with_completion_timeout(completion_timeout).with_open_transactions_max(10);
    KafkaSource::builder(connector.brokers(), connector.name())
        .marker(&connector.marker(), MARKER_COLUMN)
        .settings(settings)
}

/// Waits until a plain read returns the value of the database.
async fn follows(shop: &Shop, cache: &Cache<u64, u64>, id: u64) {
    let value = shop.value(id).await;
    wait::until_async("the cache follows", PATIENCE, async || cache.get(&id).await.expect("a value") == Some(value))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_xa_transaction_flushes_everything_once_and_ends_all_claims() {
    let shop = Shop::open(ROWS).await.over_kafka(&Servers::shared()).await;
    let cache = shop.cache().await;
    let cdc = run_with(&shop, &cache, KafkaSettings::default()).await;
    let errors = errors_of(&cdc);
    recovered(&shop, "the start", tokio::time::Instant::now()).await;
    warm(&cache).await;
    let before = cdc.status().flushes_total;
    let xid = shop.database.name().to_owned();
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    for (verb, update) in [("START", true), ("END", false), ("PREPARE", false), ("COMMIT", false)] {
        conn.query_drop(format!("XA {verb} '{xid}'")).await.expect("a statement of XA");
        if update {
            conn.query_drop("UPDATE item SET value = value + 1 WHERE id = 7").await.expect("a row is updated");
        }
    }
    flushed(&cdc, before).await;
    let said = errors.lock().expect("unpoisoned").iter().any(|error| error.contains("XA"));
    assert!(said, "{errors:?}");
    // Changes of other transactions are still invalidated, and the position stays.
    warm(&cache).await;
    for id in 1..=5 {
        let token = shop.increment(id).await;
        follows(&shop, &cache, id).await;
        assert!(!cdc.status().applied.covers(&token), "the position may not advance");
        let hit = cache.get(&id).at_least(&token).detailed().await.expect("a value");
        assert_eq!(hit.value, Some(shop.value(id).await), "{hit:?}");
    }
    assert_eq!(cdc.status().flushes_total, before + 1, "it flushes once: {errors:?}");
    cdc.shutdown().await;

    let cdc = run_with(&shop, &cache, KafkaSettings::default()).await;
    let token = shop.increment(1).await;
    follows(&shop, &cache, 1).await;
    assert!(!cdc.status().applied.covers(&token), "a restart remembers it");
    cdc.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_continue_without_transaction_metadata() {
    let shop = Shop::open(ROWS).await.over_kafka(&Servers::shared()).await;
    let cache = shop.cache().await;
    let connector = shop.connector.as_ref().expect("a connector");
    let binlog = BinlogSource::connect(shop.database.url()).await.expect("a server");
    let source = builder(connector, Duration::from_secs(1)).transaction_topic(unique::name("absent"));
    let cdc = run_source(&cache, source.build(binlog).expect("a source")).await;
    for _ in 0..3 {
        warm(&cache).await;
        for id in 1..=30 {
            shop.increment(id).await;
        }
        for id in 1..=30 {
            follows(&shop, &cache, id).await;
        }
    }
    assert_eq!(cdc.status().flushes_total, 1, "{:?}", cdc.status());
    cdc.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_its_election_topic_reports_it() {
    let shop = Shop::open(1).await.over_kafka(&Servers::shared()).await;
    let connector = shop.connector.as_ref().expect("a connector");
    let (group, absent) = (unique::name("group"), unique::name("absent"));
    let make = async |topic: &str| {
        let binlog = BinlogSource::connect(shop.database.url()).await.expect("a server");
        let source = builder(connector, Duration::from_secs(1)).group(&group).transaction_topic(topic);
        source.build(binlog).expect("a source")
    };
    let error = make(&absent).await.lead().await.expect_err("no topic to elect a leader by");
    assert!(error.to_string().contains(&absent) && error.to_string().contains("`transaction_topic`"), "{error}");
    let lead = make(&connector.transaction_topic()).await.lead().await.expect("the topic exists");
    assert_eq!(lead, Lead::Elected);
}

/// Writes a tombstone in a transaction of the producer, whose transaction marker takes an offset and is not a record.
async fn write_in_a_transaction(brokers: &str, topic: &str) {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    let write = move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", &topic)
            .create()
            .expect("a producer");
        producer.init_transactions(PATIENCE).expect("the coordinator responds");
        producer.begin_transaction().expect("a transaction");
        producer.send(BaseRecord::<str, [u8]>::to(&topic).key("tombstone")).map_err(|(error, _)| error).expect("sent");
        producer.commit_transaction(PATIENCE).expect("committed");
    };
    tokio::task::spawn_blocking(write).await.expect("it is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_events_are_detected_with_a_transactional_producer() {
    let mut shop = Shop::open(ROWS).await;
    let connector = Connector::start_with(&Servers::shared(), &shop.database, &["item"], &DROPS_ROWS).await;
    let topic = connector.topic("item");
    write_in_a_transaction(connector.brokers(), &topic).await;
    let binlog = BinlogSource::connect(shop.database.url()).await.expect("a server");
    let source = builder(&connector, Duration::from_secs(1)).build(binlog).expect("a source");
    let progress = source.progress();
    shop.connector = Some(connector);
    let cache = shop.cache().await;
    let cdc = run_source(&cache, source).await;
    let errors = errors_of(&cdc);
    let reads_to_the_end = || {
        let partitions = progress.partitions();
        let rows = partitions.iter().find(|partition| *partition.topic == *topic);
        rows.is_some_and(|rows| rows.end == 2 && rows.next == Some(2))
    };
    wait::until("the end of the transaction is passed", PATIENCE, reads_to_the_end).await;
    warm(&cache).await;
    let before = cdc.status().flushes_total;
    shop.increment(1).await;
    flushed(&cdc, before).await;
    say(&format!("{errors:?}"));
    assert!(said(&errors, &[".item, and only 0 were read"]), "{errors:?}");
    let hit = cache.get(&1).detailed().await.expect("a value");
    assert_eq!((hit.value, hit.tier), (Some(2), Tier::Database));
    cdc.shutdown().await;
}
