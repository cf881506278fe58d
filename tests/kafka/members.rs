//! Consumers are killed, alone and as members of a group.

use std::time::Duration;

use cachefront::StoreKey;
use cachefront_testkit::actor::Actor;
use cachefront_testkit::connector::Servers;
use cachefront_testkit::shop::Shop;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

use crate::traffic::{ROWS, Traffic, recovered, say};

const PROGRAM: &str = env!("CARGO_BIN_EXE_actor");

/// Returns the store's term: each invalidator that starts to write takes the next one.
async fn term(shop: &Shop) -> u64 {
    let key = StoreKey::encode("item", &0_u64).expect("a key");
    shop.store().await.get(&key).await.expect("the store responds").meta.expect("a meta").term
}

/// Returns the offset that the group has committed for the topic of the rows.
fn committed(shop: &Shop) -> Option<i64> {
    let connector = shop.connector.as_ref().expect("a connector");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", connector.brokers()).set("group.id", shop.database.name());
    let client: BaseConsumer = config.create().expect("a client of Kafka");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition(&connector.topic("item"), 0);
    let found = client.committed_offsets(partitions, Duration::from_secs(10)).expect("the broker responds");
    match found.elements().first().expect("the partition").offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_takes_over_when_the_leader_is_killed_under_load() {
    let shop = Shop::open(ROWS).await.over_kafka(&Servers::shared()).await;
    let cache = shop.cache().await;
    let mut leader = Actor::start(PROGRAM, &["consumer"], &shop).await;
    assert_eq!(leader.line().await, "Running");
    let traffic = Traffic::start(&shop, &cache).await;
    let of_leader = term(&shop).await;

    let mut other = Actor::start(PROGRAM, &["consumer"], &shop).await;
    assert_eq!(other.line().await, "Standby", "the group has a leader");
    recovered(&shop, "a second member has joined", Instant::now()).await;
    traffic.more().await;
    let disturbed = tokio::time::timeout(Duration::from_millis(500), leader.line()).await;
    assert!(disturbed.is_err(), "the second member disturbed the first: {disturbed:?}");
    let disturbed = tokio::time::timeout(Duration::from_millis(500), other.line()).await;
    assert!(disturbed.is_err(), "the second member leads too: {disturbed:?}");
    assert_eq!(term(&shop).await, of_leader, "another process has written");
    say(&format!("the group has committed {:?} of the rows' topic", committed(&shop)));
    assert!(committed(&shop).is_some_and(|offset| offset > 0), "no offset was committed to the group");

    let since = Instant::now();
    leader.kill().await;
    assert_eq!(other.line().await, "Running");
    say(&format!("the other member leads after {:.1} s", since.elapsed().as_secs_f64()));
    let time = recovered(&shop, "the leader was killed", since).await;
    assert!(time < Duration::from_secs(30), "a session times out after 6 s, and this took {time:?}");
    assert!(term(&shop).await > of_leader);
    traffic.more().await;
    assert_eq!(traffic.errors(), 0, "readers noticed it");
    traffic.rest(&shop, &cache).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_consumer_is_killed_under_load() {
    let shop = Shop::open(ROWS).await.over_kafka(&Servers::shared()).await;
    let cache = shop.cache().await;
    let mut consumer = Actor::start(PROGRAM, &["consumer"], &shop).await;
    let traffic = Traffic::start(&shop, &cache).await;
    for _ in 0..2 {
        traffic.more().await;
        let since = Instant::now();
        consumer.kill().await;
        consumer = Actor::start(PROGRAM, &["consumer"], &shop).await;
        recovered(&shop, "the only consumer was killed", since).await;
    }
    assert_eq!(traffic.errors(), 0, "readers noticed it");
    traffic.rest(&shop, &cache).await;
}
