//! What reads allocate. The runtime has one thread, so everything that a read does is counted, in the client too.

use std::time::Duration;

use cachefront::redis::RedisStore;
use cachefront::testing::ScriptedSource;
use cachefront::{Cache, CacheBuilder, Cdc, CdcHandle, loader_fn};
use cachefront_testkit::{stack, unique};
use tokio::runtime::{Builder, Runtime};

const KEYS: u64 = 50;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A cache whose values are numbers, so that a value is decoded without an allocation, and its invalidator.
async fn start(builder: CacheBuilder<u64, u64>) -> (Cache<u64, u64>, CdcHandle) {
    let cache = builder
        .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(id)) }))
        .depends_on_columns("shop.users", &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    let cdc = Cdc::new(ScriptedSource::new("shop")).bind(&cache).spawn().expect("an invalidator");
    cdc.ready().await.expect("it runs");
    (cache, cdc)
}

/// The least number of allocations of a few runs: a heartbeat that falls into one does not count.
fn allocations(mut run: impl FnMut()) -> u64 {
    (0..9).map(|_| allocation_counter::measure(&mut run).count_total).min().unwrap_or(u64::MAX)
}

/// One for the name of each key, none for its entry: the entries are parts of the reply.
#[test]
fn a_hit_of_many_in_redis_takes_one_allocation() {
    let runtime = runtime();
    let (cache, cdc) = runtime.block_on(async {
        let store = RedisStore::builder(&stack::redis_url()).namespace(unique::namespace());
        start(Cache::builder("users").shared(store.connect().await.expect("a store")).ttl(Duration::from_secs(600)))
            .await
    });
    let keys: Vec<u64> = (0..KEYS).collect();
    let read = || runtime.block_on(async { cache.get_many(&keys).await.expect("values") });
    assert_eq!(read().len(), keys.len());
    let used = allocations(|| assert_eq!(read()[7], Some(7)));
    runtime.block_on(cdc.shutdown());
    // What a call takes whatever its keys: futures, lists, the command and the reply.
    assert!(used <= KEYS + 40, "{used} allocations for {KEYS} keys");
}

#[test]
fn a_miss_that_fills_takes_few_allocations() {
    let runtime = runtime();
    let (cache, cdc) = runtime.block_on(start(Cache::builder("users")));
    let mut id = 0;
    let used = allocations(|| {
        id += 1;
        assert_eq!(runtime.block_on(async { cache.get(&id).await.expect("a value") }), Some(id));
    });
    runtime.block_on(cdc.shutdown());
    // In an optimised build 12: without optimisation futures are larger, and tokio puts large ones on the heap once more.
    assert!(used <= 14, "{used} allocations");
}
