//! A server that is full, and evicts nothing, takes no new value. What it holds is served and must be invalidated all the same.

use std::time::Duration;

use bytes::Bytes;
use cachefront_core::bus::{BusEvent, BusMessage, Publisher};
use cachefront_core::entry::{Entry, Header, PayloadState};
use cachefront_core::store::{
    Applied, Cover, Expected, Fill, FillReply, Generation, Invalidation, InvalidationMode, LeaseReply, LeaseRequest,
    RowImageValue, Store, StoreState, Token,
};
use cachefront_core::{Cache, ErrorKind, Gtid, Tier, Timestamp, loader_fn};
use cachefront_redis::RedisStore;
use cachefront_testkit::server::{Cluster, redis::Redis};
use cachefront_testkit::unique;

use crate::connection::{MAPPING, key, lease_of, meta};

const ORIGIN: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

const LONG: Duration = Duration::from_secs(600);

async fn leases(store: &RedisStore, id: u64, reload: bool) -> cachefront_core::Result<Token> {
    let (key, token) = (key(id), Token::from_u128(1 + u128::from(id)).expect("a token"));
    let request = LeaseRequest { duration: LONG, reload, ..lease_of(&key, token, InvalidationMode::Cdc) };
    let reply = store.lease(&request).await?;
    assert!(matches!(reply, LeaseReply::Granted { .. }), "{reply:?}");
    Ok(token)
}

/// Stores a value whose load has seen the transactions 1 to 9.
async fn put(store: &RedisStore, id: u64) {
    let (key, token) = (key(id), leases(store, id, false).await.expect("a lease"));
    let header = Header {
        state: PayloadState::Fresh,
        mode: InvalidationMode::Cdc,
        codec: 1,
        compression: 0,
        schema_version: 1,
        generation: Generation(7),
        order: 5,
        filled_at: Timestamp::from_micros(5),
        soft_expiry: Timestamp::UNKNOWN,
        hard_expiry: Timestamp::UNKNOWN,
        load_cost_us: 1,
        position: Bytes::from(format!("{ORIGIN}:1-9")),
    };
    let entry = header.encode_with(b"old");
    let (mode, generation) = (header.mode, header.generation);
    let fill = Fill { key: &key, token, mode, generation, entry: &entry, expiry: LONG };
    assert_eq!(store.fill(&fill).await.expect("a reply"), FillReply::Stored);
}

async fn value(store: &RedisStore, id: u64) -> Option<Bytes> {
    let entry = store.get(&key(id)).await.expect("a full server is read").entry?;
    Some(Entry::decode(entry).expect("an entry").payload)
}

fn commits(number: u64) -> Vec<Gtid> {
    vec![Gtid { origin: ORIGIN.into(), number }]
}

/// Checks what a store does whose servers become full in `fill_up`.
async fn is_invalidated_when_full(store: &RedisStore, fill_up: impl AsyncFn()) {
    store.writer().await.expect("a writer").flush(&meta(7, 5)).await.expect("a flush");
    for id in 1..=4 {
        put(store, id).await;
    }
    leases(store, 1, true).await.expect("a lease on a value");
    fill_up().await;
    let error = leases(store, 9, false).await.expect_err("a full server takes no value");
    assert_eq!(error.kind(), ErrorKind::Overloaded, "no outage: hits go on");
    assert!(error.to_string().contains("`maxmemory-policy volatile-ttl`"), "{error}");

    // Another invalidator takes over.
    let mut writer = store.writer().await.expect("a writer");
    let StoreState::Live(state) = writer.state().await.expect("a state") else { panic!("the meta is there") };
    writer.take_term(&state, 2).await.expect("a term");
    let held = Expected { generation: Generation(7), term: 2, applied_order: 5 };
    let covered = state.coverage.rows()[0].clone();
    writer.cover(&held, Generation(8), &[Cover { covered, fresh: false }]).await.expect("a coverage");
    let held = Expected { generation: Generation(8), ..held };
    writer.raise_high_watermark(&held, 6).await.expect("a mark");
    let [seen, unseen] = [(1, 9), (2, 10)].map(|(id, number)| Invalidation { key: key(id), commits: commits(number) });
    // The first write to a shard revokes a lease.
    writer.invalidate_unseen(&[seen]).await.expect("an invalidation");
    writer.invalidate_unseen(&[unseen]).await.expect("an invalidation");
    let image = RowImageValue {
        key: key(3),
        commits: commits(10),
        contains: format!("{ORIGIN}:1-10").parse().expect("a position"),
        mapping: MAPPING,
        codec: 1,
        schema_version: 1,
        payload: Bytes::from_static(b"new"),
    };
    writer.replace(&held, &[image]).await.expect("a row image");
    writer.invalidate(&[key(4)]).await.expect("an invalidation");
    store.bus().subscribe().await.expect("a new stream");
    let message = BusMessage {
        publisher: Publisher(1),
        event: BusEvent::Flush,
        applied: None,
        source_time: Timestamp::UNKNOWN,
        sent_at: Timestamp::UNKNOWN,
    };
    writer.publish(&message).await.expect("a message");
    let applied = Applied { order: 6, checkpoint: Default::default(), source_time: Timestamp::UNKNOWN };
    writer.commit(&held, &applied).await.expect("a commit");
    let values = [value(store, 1).await, value(store, 2).await, value(store, 3).await, value(store, 4).await];
    assert_eq!(values, [Some("old".into()), None, Some("new".into()), None]);

    store.flush_caches(&[(MAPPING, Generation(99))]).await.expect("a clear by hand");
    store.suspend().await.expect("a suspension");
    writer.resign(&Expected { applied_order: 6, ..held }).await.expect("a resignation");
    let mut fresh = meta(10, 6);
    fresh.term = 3;
    writer.flush(&fresh).await.expect("a flush");
}

async fn store(url: &str) -> RedisStore {
    RedisStore::builder(url).namespace(unique::namespace()).connect().await.expect("a store")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_fills_and_no_invalidation() {
    let redis = Redis::start().await;
    is_invalidated_when_full(&store(&redis.url()).await, async || redis.fill_up().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_valkey_refuses_fills_and_no_invalidation() {
    let valkey = Redis::start_valkey().await;
    is_invalidated_when_full(&store(&valkey.url()).await, async || valkey.fill_up().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_cluster_refuses_fills_and_no_invalidation() {
    let cluster = Cluster::start().await;
    let fill_up = async || {
        for node in &cluster.nodes {
            let info = node.command("INFO replication").await.expect("a reply");
            if info.contains("role:master") {
                node.fill_up().await;
            }
        }
    };
    is_invalidated_when_full(&store(&cluster.url()).await, fill_up).await;
}

/// A lease that is refused is no sign that the server is away: five of them would keep readers from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_serves_hits_to_a_cache_that_also_misses() {
    let redis = Redis::start().await;
    let cache: Cache<u64, u64> = Cache::builder("row")
        .shared(store(&redis.url()).await)
        .mode(InvalidationMode::Ttl)
        .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(id)) }))
        .build()
        .expect("a cache");
    assert_eq!(cache.get(&1).await.expect("a value"), Some(1));
    redis.fill_up().await;
    let cold: Vec<u64> = (10..30).collect();
    assert_eq!(cache.get_many(&cold).await.expect("values")[3], Some(13));
    let hit = cache.get(&1).detailed().await.expect("a value");
    assert_eq!((hit.value, hit.tier), (Some(1), Tier::Shared));
}
