//! What is measured on: a value of about 100 bytes, and a cache of CDC mode whose log is quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachefront::{Cache, CacheBuilder, Cdc, CdcHandle, Local, loader_fn, redis::RedisStore, testing::ScriptedSource};
use cachefront_testkit::{stack, unique};
use serde::{Deserialize, Serialize};

/// The table that the measured caches depend on.
pub(crate) const TABLE: &str = "bench.user";

/// A row as JSON of about 100 bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) updated_at: String,
}

impl User {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            name: format!("user number {id:06}"),
            email: format!("user-{id:06}@example.org"),
            updated_at: "2026-01-01T00:00:00.000000Z".to_owned(),
        }
    }
}

/// A cache with its invalidator.
pub(crate) struct World<V: Clone + Send + Sync + 'static> {
    pub(crate) cache: Cache<u64, V>,
    pub(crate) log: ScriptedSource,
    pub(crate) loads: Arc<AtomicU64>,
    cdc: CdcHandle,
}

impl<V: Clone + Send + Sync + Serialize + serde::de::DeserializeOwned + 'static> World<V> {
    /// Starts one over `builder`, with values made by `value_of`.
    async fn start(builder: CacheBuilder<u64, V>, value_of: fn(u64) -> V) -> Self {
        let loads = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&loads);
        let cache = builder
            .ttl(Duration::from_secs(3600))
            .loader(loader_fn(move |id: u64| {
                counted.fetch_add(1, Ordering::Relaxed);
                async move { Ok::<_, std::io::Error>(Some(value_of(id))) }
            }))
            .depends_on_columns(TABLE, &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache");
        let log = ScriptedSource::new("bench");
        let cdc = Cdc::new(log.clone()).bind(&cache).spawn().expect("an invalidator");
        cdc.ready().await.expect("the invalidator runs");
        Self { cache, log, loads, cdc }
    }

    /// Over a Redis of the stack, without a process-local tier.
    pub(crate) async fn on_redis(value_of: fn(u64) -> V) -> Self {
        let store = RedisStore::builder(&stack::redis_url())
            .namespace(unique::namespace())
            .connect()
            .await
            .expect("the stack's Redis replies");
        Self::start(Cache::builder("bench").shared(store), value_of).await
    }

    /// In this process alone, without a process-local tier.
    pub(crate) async fn in_store(value_of: fn(u64) -> V) -> Self {
        Self::start(Cache::builder("bench"), value_of).await
    }

    /// In this process alone, with a process-local tier.
    pub(crate) async fn in_process(value_of: fn(u64) -> V) -> Self {
        let local = Local::max_weight(256 << 20).ttl(Duration::from_secs(3600));
        Self::start(Cache::builder("bench").local(local), value_of).await
    }

    /// Reads keys until all of them are hits.
    pub(crate) async fn warm(&self, keys: std::ops::Range<u64>) {
        let keys: Vec<u64> = keys.collect();
        for chunk in keys.chunks(500) {
            self.cache.get_many(chunk).await.expect("values");
        }
    }

    /// Waits until everything in the log is applied.
    pub(crate) async fn settle(&self) {
        settle(&self.log, &self.cdc).await;
    }

    /// Loads so far.
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(self) {
        self.cdc.shutdown().await;
    }
}

/// Waits until an invalidator has applied everything in its log.
pub(crate) async fn settle(log: &ScriptedSource, cdc: &CdcHandle) {
    let executed = log.executed();
    let mut status = cdc.watch();
    let applied = status.wait_for(|status| status.applied.covers(&executed));
    tokio::time::timeout(Duration::from_secs(60), applied)
        .await
        .expect("the log is applied in time")
        .expect("the invalidator runs");
}

/// A fixed pseudo-random sequence: the same keys in the same order for both sides.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    state: u64,
    count: u64,
}

impl Keys {
    pub(crate) fn new(seed: u64, count: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, count }
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % self.count
    }
}

/// CPU time of this process, in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or_default()).as_secs_f64()
}
