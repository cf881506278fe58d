//! Listing and emptying a namespace in a server that also has keys of others.

use std::collections::BTreeSet;
use std::time::Duration;

use cachefront_core::bus::{BusEvent, BusMessage, Publisher};
use cachefront_core::store::{InvalidationMode, LeaseReply, LeaseRequest, Store, StoreState, Token};
use cachefront_core::{StoreKey, Timestamp};
use cachefront_redis::{RedisSettings, RedisStore, testing};
use cachefront_testkit::server::redis::Redis;

use crate::connection::{key, lease_of, meta};
use crate::fixture::raw;

const SHARDS: u32 = 5;

/// A store whose walks take many steps and many commands.
async fn store(redis: &Redis, namespace: &str, scan_steps_max: usize) -> RedisStore {
    let settings = RedisSettings::default().with_scan_step_keys(10).with_scan_steps_max(scan_steps_max);
    let builder = RedisStore::builder(&redis.url()).namespace(namespace).shards(SHARDS);
    builder.settings(settings.with_keys_per_command_max(3)).connect().await.expect("a store")
}

/// Takes a lease on each key, which writes an entry without a value.
async fn fill(store: &RedisStore, ids: std::ops::Range<u64>) {
    for id in ids {
        let (key, token) = (key(id), Token::from_u128(1).expect("a token"));
        let request =
            LeaseRequest { duration: Duration::from_secs(600), ..lease_of(&key, token, InvalidationMode::Ttl) };
        let reply = store.lease(&request).await.expect("a reply");
        assert!(matches!(reply, LeaseReply::Granted { .. }), "{reply:?}");
    }
}

fn sorted(keys: &[StoreKey]) -> BTreeSet<&str> {
    keys.iter().map(StoreKey::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_this_namespace_are_listed_up_to_the_limit() {
    let redis = Redis::start().await;
    // The second name has the first one as its prefix, so that a pattern alone does not tell their keys apart.
    let (shop, nested) = (store(&redis, "shop", 10_000).await, store(&redis, "shop:0", 10_000).await);
    shop.writer().await.expect("a writer").flush(&meta(1, 1)).await.expect("a flush");
    fill(&shop, 0..200).await;
    fill(&nested, 500..600).await;
    let expected: Vec<StoreKey> = (0..200).map(key).collect();
    let listed = shop.keys(1_000).await.expect("keys");
    assert_eq!(listed.len(), 200, "no key is listed twice");
    assert_eq!(sorted(&listed), sorted(&expected));
    assert_eq!(shop.keys(7).await.expect("keys").len(), 7);
    assert_eq!(shop.keys(0).await.expect("keys").len(), 0);
    let few = store(&redis, "shop", 1).await.keys(1_000).await.expect("keys");
    assert!(few.len() < 100, "{} keys in one step", few.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_removes_metas_and_entries_of_this_namespace_only() {
    let redis = Redis::start().await;
    let (shop, nested) = (store(&redis, "shop", 1).await, store(&redis, "shop:0", 10_000).await);
    let mut writer = shop.writer().await.expect("a writer");
    writer.flush(&meta(1, 1)).await.expect("a flush");
    fill(&shop, 0..200).await;
    fill(&nested, 500..600).await;
    let message = BusMessage {
        publisher: Publisher::READER,
        event: BusEvent::Flush,
        applied: None,
        source_time: Timestamp::UNKNOWN,
        sent_at: Timestamp::UNKNOWN,
    };
    shop.bus().publish(&message).await.expect("a sequence");

    assert_eq!(shop.clear().await.expect("the namespace is cleared"), 200 + u64::from(SHARDS));
    assert_eq!(shop.keys(1_000).await.expect("keys").len(), 0);
    assert_eq!(writer.state().await.expect("a state"), StoreState::Missing);
    assert_eq!(nested.keys(1_000).await.expect("keys").len(), 100);
    let mut raw = raw(&redis.url()).await;
    let left: Vec<String> = redis::cmd("KEYS").arg(testing::pattern("shop")).query_async(&mut raw).await.expect("keys");
    let left: Vec<&String> = left.iter().filter(|name| !name.starts_with("{cf:shop:0:")).collect();
    assert_eq!(left, [&testing::bus_key("shop")], "the bus keeps its messages");
    assert_eq!(shop.clear().await.expect("it is empty"), 0);
}
