//! Two servers change roles under open connections: nothing is taken for the same server that is another one.

use std::sync::Arc;
use std::time::Duration;

use cachefront::{Cache, Local, loader_fn};
use cachefront_core::bus::{BusEvent, BusMessage, BusReader, Publisher};
use cachefront_core::store::{Reading, ServerId, Store};
use cachefront_core::{ErrorKind, Timestamp};
use cachefront_redis::{RedisSettings, RedisStore, testing};
use cachefront_testkit::address::Address;
use cachefront_testkit::server::redis::Redis;
use cachefront_testkit::{unique, wait};
use redis::aio::MultiplexedConnection;

use crate::connection::{key, meta};
use crate::fixture::raw;

const WAIT: Duration = Duration::from_secs(30);

/// The generations of what is stored before and after the change of roles.
const BEFORE: u128 = 7;
const AFTER: u128 = 8;

async fn server() -> Redis {
    Redis::start_with(&["--repl-diskless-sync-delay", "0"]).await
}

async fn change_role(raw: &mut MultiplexedConnection, host: &str, port: &str) {
    redis::cmd("REPLICAOF").arg(host).arg(port).exec_async(raw).await.expect("a change of role");
}

/// Makes `replica` a replica of `primary`, and waits until it has everything.
async fn follow(replica: &Redis, primary: &Redis) {
    change_role(&mut raw(&replica.url()).await, "127.0.0.1", &primary.port().to_string()).await;
    wait::until_async("the replica is in step", WAIT, async || {
        replica.command("INFO replication").await.is_ok_and(|info| info.contains("master_link_status:up"))
    })
    .await;
}

async fn promote(replica: &Redis) {
    change_role(&mut raw(&replica.url()).await, "NO", "ONE").await;
}

async fn open(url: &str, namespace: &str) -> RedisStore {
    RedisStore::builder(url).namespace(namespace).connect().await.expect("a store")
}

fn message(number: u64) -> BusMessage {
    BusMessage {
        publisher: Publisher(1),
        event: BusEvent::Keys(vec![format!("users:{number}").into()]),
        applied: None,
        source_time: Timestamp::UNKNOWN,
        sent_at: Timestamp::UNKNOWN,
    }
}

async fn publish(store: &RedisStore, numbers: std::ops::RangeInclusive<u64>) {
    let mut writer = store.writer().await.expect("a writer");
    for number in numbers {
        writer.publish(&message(number)).await.expect("a sequence");
    }
}

async fn read_to(reader: &mut dyn BusReader, sequence: u64) {
    let mut last = 0;
    while last < sequence {
        let reads = tokio::time::timeout(WAIT, reader.next()).await.expect("in time").expect("messages");
        last = reads.last().expect("at least one").sequence;
    }
}

/// A reader of the bus has read more on the old primary than was replicated. The old primary becomes a replica of the
/// new one between two reads of the same connection; as many messages as were lost came in their place, and the reader
/// would go on after them without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_outlives_a_demotion_skips_nothing_unnoticed() {
    let (old, new, namespace) = (server().await, server().await, unique::namespace());
    // First: a primary's history gets a new name with its first replica.
    follow(&new, &old).await;
    let store = open(&old.url(), &namespace).await;
    let mut reader = store.bus().subscribe().await.expect("a reader");
    publish(&store, 1..=5).await;
    let stream = testing::bus_key(&namespace);
    wait::until_async("five messages are replicated", WAIT, async || {
        new.command(&format!("XLEN {stream}")).await.is_ok_and(|length| length.trim_end() == ":6")
    })
    .await;
    promote(&new).await;
    publish(&store, 6..=8).await;
    let last = reader.head() + 8;
    read_to(&mut *reader, last).await;
    let moved = open(&new.url(), &namespace).await;
    publish(&moved, 16..=19).await;
    follow(&old, &new).await;
    let outcome = tokio::time::timeout(WAIT, reader.next()).await.expect("in time");
    let error = outcome.expect_err("three messages were never read");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
}

/// The same with the publisher: its connection outlives two changes of roles, and what it would publish names a server
/// that is no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_outlives_a_demotion_is_refused() {
    let redis = server().await;
    let store = open(&redis.url(), &unique::namespace()).await;
    let mut writer = store.writer().await.expect("a writer");
    let mut reader = store.bus().subscribe().await.expect("a reader");
    writer.publish(&message(1)).await.expect("a sequence");
    store.bus().publish(&message(2)).await.expect("a sequence");
    let last = reader.head() + 2;
    read_to(&mut *reader, last).await;
    let mut raw = raw(&redis.url()).await;
    change_role(&mut raw, "127.0.0.1", "1").await;
    change_role(&mut raw, "NO", "ONE").await;
    let error = writer.publish(&message(3)).await.expect_err("its server is another one now");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(store.bus().publish(&message(4)).await.is_err(), "nor does a reader's message pass");
    // Every client finds the server again, under the same name.
    wait::until_async("readers are connected again", WAIT, async || store.bus().publish(&message(5)).await.is_ok())
        .await;
    assert!(tokio::time::timeout(WAIT, reader.next()).await.expect("in time").is_err(), "it knows the old history");
    let mut reader = store.bus().subscribe().await.expect("a reader");
    publish(&store, 6..=6).await;
    let reads = tokio::time::timeout(WAIT, reader.next()).await.expect("in time").expect("a message");
    assert_eq!(reads[0].message, message(6));
    assert!(reads[0].server.is_same(store.get(&key(1)).await.expect("a reading").server));
}

async fn subscribed(store: &RedisStore) -> (Box<dyn BusReader>, ServerId) {
    let mut reader = wait::until_some("the bus is found", WAIT, async || store.bus().subscribe().await.ok()).await;
    publish(store, 1..=1).await;
    let reads = tokio::time::timeout(WAIT, reader.next()).await.expect("in time").expect("a message");
    (reader, reads[0].server)
}

fn generation(reading: &Reading) -> u128 {
    reading.meta.as_ref().expect("a meta").generation.0
}

/// A planned failover: the old primary keeps its clients and goes on serving what it had. A reader's value may count as
/// read from the bus' server only if it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_follow_the_bus_to_the_new_primary() {
    let (old, new, namespace) = (server().await, server().await, unique::namespace());
    follow(&new, &old).await;
    let name = Address::of(old.port()).await;
    let store = open(&name.redis_url(), &namespace).await;
    store.writer().await.expect("a writer").flush(&meta(BEFORE, 1)).await.expect("a flush");
    assert!(store.peek(&key(1)).await.expect("a reading").meta.is_some());
    let (mut reader, first) = subscribed(&store).await;
    let reading = store.get(&key(1)).await.expect("a reading");
    assert!(reading.server.is_same(first), "one server for both");
    let waiting = tokio::spawn(async move { reader.next().await });

    promote(&new).await;
    name.move_to(new.port());
    // Its primary cannot be reached: it serves what it had.
    change_role(&mut raw(&old.url()).await, "127.0.0.1", "1").await;
    let moved = open(&new.url(), &namespace).await;
    let mut after = meta(AFTER, 2);
    after.term = 2;
    moved.writer().await.expect("a writer").flush(&after).await.expect("a flush");
    let ended = tokio::time::timeout(WAIT, waiting).await.expect("in time").expect("a task");
    assert!(ended.is_err(), "the bus left the demoted server");
    let stale = store.get(&key(1)).await.expect("the demoted server serves");
    assert_eq!((generation(&stale), stale.server), (BEFORE, first), "and says that it is the old one");

    let (_reader, second) = subscribed(&store).await;
    assert!(!second.is_same(first));
    wait::until_async("readers are on the bus' server, though none of them writes", WAIT, async || {
        let Ok(reading) = store.get(&key(1)).await else {
            return false;
        };
        assert_eq!(reading.server.is_same(second), generation(&reading) == AFTER, "{reading:?}");
        reading.server.is_same(second)
    })
    .await;
    wait::until_async("so are those who look", WAIT, async || {
        store.peek(&key(1)).await.is_ok_and(|reading| reading.server.is_same(second))
    })
    .await;
}

/// A host vanishes for readers first: they are on another server before the bus has noticed anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_follows_readers_to_another_server() {
    let (old, new, namespace) = (server().await, server().await, unique::namespace());
    let name = Address::of(old.port()).await;
    let mut settings = RedisSettings::default();
    settings.bus_block = Duration::from_secs(600);
    let builder = RedisStore::builder(&name.redis_url()).namespace(namespace).settings(settings);
    let store = builder.connect().await.expect("a store");
    let (mut reader, first) = subscribed(&store).await;
    let waiting = tokio::spawn(async move { reader.next().await });
    wait::until_async("the bus waits for messages", WAIT, async || clients(&old, "xread").await.len() == 1).await;
    name.move_to(new.port());
    for client in clients(&old, "mget").await {
        old.command(&format!("CLIENT KILL ID {client}")).await.expect("a reply");
    }
    wait::until_async("readers are connected again", WAIT, async || {
        store.get(&key(1)).await.is_ok_and(|reading| !reading.server.is_same(first))
    })
    .await;
    let ended = tokio::time::timeout(WAIT, waiting).await.expect("long before its wait at the server is over");
    let error = ended.expect("a task").expect_err("readers are elsewhere");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(subscribed(&store).await.1.is_same(store.get(&key(1)).await.expect("a reading").server));
}

/// A name that leads to two servers for long: readers and bus try to meet, and do not do so without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_bus_do_not_chase_each_other() {
    let (one, other, namespace) = (server().await, server().await, unique::namespace());
    let name = Address::of(one.port()).await;
    let mut settings = RedisSettings::default();
    settings.bus_block = Duration::from_secs(600);
    let builder = RedisStore::builder(&name.redis_url()).namespace(namespace).settings(settings);
    let store = builder.connect().await.expect("a store");
    name.move_to(other.port());
    let (_reader, there) = subscribed(&store).await;
    wait::until_async("readers follow once", WAIT, async || {
        store.get(&key(1)).await.is_ok_and(|reading| reading.server.is_same(there))
    })
    .await;
    name.move_to(one.port());
    for _ in 0..5 {
        let mut reader = store.bus().subscribe().await.expect("a reader");
        let error =
            tokio::time::timeout(WAIT, reader.next()).await.expect("at once").expect_err("readers are elsewhere");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
        assert!(store.get(&key(1)).await.expect("readers are served").server.is_same(there));
    }
    assert!(format!("{store:?}").contains("epoch: 2"), "they followed once: {store:?}");
}

/// The ids of a server's clients whose last command was this one.
async fn clients(redis: &Redis, command: &str) -> Vec<u64> {
    let list = redis.command("CLIENT LIST").await.unwrap_or_default();
    let wanted = format!(" cmd={command} ");
    let id = |line: &str| line.split_once("id=")?.1.split(' ').next()?.parse().ok();
    list.lines().filter(|line| line.contains(&wanted)).filter_map(id).collect()
}

/// A clone is the same store: its caches follow the bus over one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_share_one_hub_and_other_stores_do_not() {
    let (redis, namespace) = (server().await, unique::namespace());
    let store = open(&redis.url(), &namespace).await;
    let hub = |store: &RedisStore| Arc::clone(store.hub().expect("a hub"));
    assert!(Arc::ptr_eq(&hub(&store), &hub(&store.clone())));
    let another = open(&redis.url(), &namespace).await;
    assert!(!Arc::ptr_eq(&hub(&store), &hub(&another)));

    let cache = |name: &str| {
        let builder = Cache::builder(name).shared(store.clone()).local(Local::max_weight(1 << 10));
        builder.loader(loader_fn(async |id: u64| Ok::<_, std::io::Error>(Some(id)))).build().expect("a cache")
    };
    let caches = ["users", "orders", "items"].map(cache);
    wait::until_async("the bus is followed", WAIT, async || !clients(&redis, "xread").await.is_empty()).await;
    assert_eq!(clients(&redis, "xread").await.len(), 1, "once for {} caches", caches.len());
}
