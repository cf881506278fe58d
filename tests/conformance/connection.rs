//! What happens to readers when the server goes away, and comes back.

use std::time::{Duration, Instant};

use cachefront_core::store::{
    Coverage, Covered, Fill, FillReply, Generation, Invalidation, InvalidationMode, LeaseReply, LeaseRequest,
    MappingId, Meta, Store, StoreState, Token,
};
use cachefront_core::{ErrorKind, StoreKey};
use cachefront_redis::{RedisStore, testing};
use cachefront_testkit::server::redis::Redis;
use cachefront_testkit::{unique, wait};

use crate::fixture::raw;

const WAIT: Duration = Duration::from_secs(20);

pub(crate) fn key(id: u64) -> StoreKey {
    StoreKey::encode("users", &id).expect("a key")
}

/// The one cache that the metas of these tests cover.
pub(crate) const MAPPING: MappingId = MappingId(7);

pub(crate) fn meta(generation: u128, order: u64) -> Meta {
    let covered = Covered { mapping: MAPPING, generation: Generation(generation), cache: "users".into() };
    let meta = Meta::at_head(Generation(generation), 1, order, 1, "origin", &Default::default());
    meta.covering(Coverage::new([covered]))
}

pub(crate) async fn store_in(redis: &Redis) -> RedisStore {
    let builder = RedisStore::builder(&redis.url()).namespace(unique::namespace());
    builder.response_timeout(Duration::from_millis(300)).connect().await.expect("a store")
}

/// Readers get an error at once while the server is down, and are served again soon after it is back, its scripts lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_fail_fast_and_come_back_with_the_server() {
    let mut redis = Redis::start().await;
    let store = store_in(&redis).await;
    store.get(&key(1)).await.expect("a reading");
    redis.kill();
    wait::until_async("the loss is noticed", WAIT, async || store.get(&key(1)).await.is_err()).await;
    let begun = Instant::now();
    for _ in 0..100 {
        let error = store.get(&key(1)).await.expect_err("the server is gone");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "a read waits for no connection");
    redis.restart().await;
    wait::until_async("readers are served again", WAIT, async || store.get(&key(1)).await.is_ok()).await;
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(1, 1)).await.expect("a flush");
    let (key, token) = (key(1), Token::from_u128(1).expect("a token"));
    let request = lease_of(&key, token, InvalidationMode::Cdc);
    assert!(matches!(store.lease(&request).await.expect("a reply"), LeaseReply::Granted { .. }));
}

/// A server that hangs costs a reader its timeout, never more, and is served from again when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_a_timeout() {
    let mut redis = Redis::start().await;
    let store = store_in(&redis).await;
    redis.freeze();
    let begun = Instant::now();
    let error = store.get(&key(1)).await.expect_err("no server replies");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.chain());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    redis.resume();
    wait::until_async("readers are served again", WAIT, async || store.get(&key(1)).await.is_ok()).await;
}

pub(crate) fn lease_of(key: &StoreKey, token: Token, mode: InvalidationMode) -> LeaseRequest<'_> {
    let duration = Duration::from_secs(60);
    LeaseRequest { key, token, duration, mode, mapping: MAPPING, schema_version: 1, reload: false }
}

/// A reader stops waiting long before the connection is given up, whatever it asked for; and the connection is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_does_not_wait_for_a_server_that_hangs() {
    let mut redis = Redis::start().await;
    let builder = RedisStore::builder(&redis.url()).namespace(unique::namespace());
    let store = builder.response_timeout(Duration::from_secs(120)).connect().await.expect("a store");
    store.get(&key(1)).await.expect("a reading");
    redis.freeze();
    let begun = Instant::now();
    let token = Token::from_u128(1).expect("a token");
    let first = key(1);
    let request = lease_of(&first, token, InvalidationMode::Ttl);
    let errors = [
        store.get(&key(1)).await.err(),
        store.get_many(&[key(1), key(2)]).await.err(),
        store.lease(&request).await.err(),
        store.release(&key(1), token).await.err(),
    ];
    for error in errors {
        assert_eq!(error.expect("no server replies").kind(), ErrorKind::Timeout);
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    redis.resume();
    wait::until_async("readers are served again", WAIT, async || store.get(&key(1)).await.is_ok()).await;
}

/// Without any of its scripts the server does what it is asked, in single calls and in the middle of pipelines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_loaded_again() {
    let redis = Redis::start().await;
    let store = store_in(&redis).await;
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 5)).await.expect("a flush");
    let mut raw = raw(&redis.url()).await;
    let forget = async |raw: &mut redis::aio::MultiplexedConnection| {
        redis::cmd("SCRIPT").arg("FLUSH").arg("SYNC").exec_async(raw).await.expect("the scripts are forgotten");
    };
    forget(&mut raw).await;
    let token = Token::from_u128(9).expect("a token");
    let first = key(1);
    let request = lease_of(&first, token, InvalidationMode::Cdc);
    assert!(matches!(store.lease(&request).await.expect("a reply"), LeaseReply::Granted { .. }));
    forget(&mut raw).await;
    let keys: Vec<_> = (0..2_500).map(key).collect();
    let changes: Vec<_> = keys.into_iter().map(|key| Invalidation { key, commits: Vec::new() }).collect();
    writer.invalidate_unseen(&changes).await.expect("three calls in a pipeline");
    let fill = Fill {
        key: &key(1),
        token,
        mode: InvalidationMode::Cdc,
        generation: Generation(7),
        entry: b"refused",
        expiry: Duration::from_secs(60),
    };
    forget(&mut raw).await;
    let reply = store.fill(&fill).await.expect("a reply");
    assert!(matches!(reply, FillReply::Refused(_)), "the invalidation was done: {reply:?}");
    forget(&mut raw).await;
    store.suspend().await.expect("a suspension");
}

/// A peek is no use of an entry: to the server it stays as idle as it was, if the server knows the difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peek_does_not_count_as_a_use() {
    let redis = Redis::start().await;
    let store = store_in(&redis).await;
    let (leased, token) = (key(1), Token::from_u128(1).expect("a token"));
    let request = lease_of(&leased, token, InvalidationMode::Ttl);
    assert!(matches!(store.lease(&request).await.expect("a reply"), LeaseReply::Granted { .. }));
    let mut raw = raw(&redis.url()).await;
    let named: Vec<String> = redis::cmd("KEYS").arg("*users:1").query_async(&mut raw).await.expect("names");
    let idle = async |raw: &mut redis::aio::MultiplexedConnection| -> u64 {
        redis::cmd("OBJECT").arg("IDLETIME").arg(&named[0]).query_async(raw).await.expect("seconds")
    };
    wait::until_async("the entry is idle", WAIT, async || idle(&mut raw.clone()).await >= 2).await;
    assert!(store.peek(&key(1)).await.expect("a reading").entry.is_some());
    let knows: Vec<Option<redis::Value>> =
        redis::cmd("COMMAND").arg("INFO").arg("client|no-touch").query_async(&mut raw).await.expect("a description");
    if knows.first().is_some_and(Option::is_some) {
        assert!(idle(&mut raw).await >= 2, "the look counted as a use");
    }
    assert!(store.get(&key(1)).await.expect("a reading").entry.is_some());
    assert!(idle(&mut raw).await < 2, "a read counts");
}

/// The thread that peeks first has a runtime of its own, which ends with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peek_in_a_runtime_that_ends_leaves_peeks_usable() {
    let redis = Redis::start().await;
    let store = store_in(&redis).await;
    let first = store.clone();
    let peeked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(first.peek(&key(1))).map(drop)
    });
    tokio::task::spawn_blocking(|| peeked.join()).await.expect("a task").expect("a thread").expect("a reading");
    store.peek(&key(1)).await.expect("the connection is the store's");
}

/// A server that is too old for looks without a trace, or does not allow them, is looked into all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_counts_looks_as_uses_is_looked_into() {
    let redis = Redis::start().await;
    let mut raw = raw(&redis.url()).await;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("looker").arg("on").arg(">pw").arg("~*").arg("+@all").arg("-client");
    user.exec_async(&mut raw).await.expect("a user without that right");
    let url = format!("redis://looker:pw@127.0.0.1:{}/", redis.port());
    let store = RedisStore::builder(&url).namespace(unique::namespace()).connect().await.expect("a store");
    assert!(store.peek(&key(1)).await.expect("a reading").entry.is_none());
}

/// A namespace is built for one number of shards; a process that believes in another one would look in the wrong places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_shards_is_refused() {
    let redis = Redis::start().await;
    let namespace = unique::namespace();
    let builder = |shards| RedisStore::builder(&redis.url()).namespace(&namespace).shards(shards).connect();
    let early = builder(4).await.expect("the namespace is empty");
    let store = builder(2).await.expect("the namespace is empty");
    store.writer().await.expect("a writer").flush(&meta(1, 1)).await.expect("a flush");
    // A process that came before the meta finds out when it reads one; shards that no other process knows have none.
    let met = (0..).map(key).find(|key| key.shard(4) < 2).expect("a key of a shard that both know");
    for error in [builder(4).await.expect_err("another number"), early.get(&met).await.expect_err("another number")] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`shards`"), "{error}");
    }
    builder(2).await.expect("the same number");
}

/// Readers that are gone, or frozen, in the middle of a shared read delay no other reader: see also the suite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_readers_is_answered_though_many_leave() {
    let redis = Redis::start().await;
    let store = store_in(&redis).await;
    for _ in 0..50 {
        let mut readers = Vec::new();
        for id in 0..600 {
            let store = store.clone();
            readers.push(tokio::spawn(async move { store.get(&key(id)).await.map(drop) }));
        }
        for leaving in readers.iter().step_by(3) {
            leaving.abort();
        }
        for (index, reader) in readers.into_iter().enumerate() {
            match tokio::time::timeout(WAIT, reader).await.expect("answered in time") {
                Ok(reading) => reading.expect("a reading"),
                Err(error) => assert!(error.is_cancelled() && index % 3 == 0, "{error}"),
            }
        }
    }
}

/// A meta that cannot be read proves nothing: it counts as absent for every process, until a flush replaces it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_meta_counts_as_absent() {
    let redis = Redis::start().await;
    let store = store_in(&redis).await;
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(1, 1)).await.expect("a flush");
    assert!(store.get(&key(1)).await.expect("a reading").meta.is_some());
    let mut raw = raw(&redis.url()).await;
    let name = testing::meta_key(store.namespace(), 0);
    for damaged in [&b"CM\x01"[..], b"something else, as long as a meta is, but not one: its first bytes say it", b""] {
        redis::cmd("SET").arg(&name).arg(damaged).exec_async(&mut raw).await.expect("it is damaged");
        assert!(store.get(&key(1)).await.expect("a reading").meta.is_none());
        assert_eq!(writer.state().await.expect("a state"), StoreState::Missing);
        store.suspend().await.expect("a suspension of nothing");
        assert_eq!(writer.state().await.expect("a state"), StoreState::Missing);
    }
    writer.flush(&meta(2, 2)).await.expect("a flush");
    assert!(store.get(&key(1)).await.expect("a reading").meta.is_some());
}

/// Writes that a demoted server refuses make readers look for the primary again, under the same name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_server_is_left() {
    let redis = Redis::start().await;
    let store = store_in(&redis).await;
    store.writer().await.expect("a writer").flush(&meta(1, 1)).await.expect("a flush");
    let mut raw = raw(&redis.url()).await;
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec_async(&mut raw).await.expect("a change of role");
    let before = redis.command("CLIENT LIST").await.expect("a reply").lines().count();
    let error = store.suspend().await.expect_err("a replica takes no writes");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut raw).await.expect("a change of role");
    wait::until_async("readers are served again", WAIT, async || store.suspend().await.is_ok()).await;
    // The server notices a moment later that a connection was closed.
    wait::until_async("the connection to the demoted server was replaced, and no other one added", WAIT, async || {
        redis.command("CLIENT LIST").await.expect("a reply").lines().count() <= before
    })
    .await;
    assert!(format!("{store:?}").contains("epoch: 2"), "by a second one: {store:?}");
}
