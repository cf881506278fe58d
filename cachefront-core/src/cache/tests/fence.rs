//! Fenced caches: a load from a replica is kept only if the replica had executed what was invalidated before the load.

use super::levels::Server;
use super::*;
use crate::IntoStore;
use crate::settings::OnLag;
use crate::testing::TokioClock;

/// A fenced cache that loads from this replica.
fn fenced(store: impl IntoStore, clock: Arc<dyn Clock>, server: Server) -> Cache<u64, u64> {
    Cache::builder("row")
        .shared(store)
        // The invalidators of these tests have no watermark.
        .settings(CacheSettings::default().with_on_lag(OnLag::Serve))
        .clock(clock)
        .loader(server)
        .loads_from("replica")
        .fenced()
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache")
}

struct Scene {
    server: Server,
    invalidator: ManualInvalidator,
    cache: Cache<u64, u64>,
}

impl Scene {
    async fn new() -> Self {
        let (store, server) = (Arc::new(MemoryStore::new("t")), Server::replica());
        let cache = fenced(Arc::clone(&store), Arc::new(TokioClock::new()), server.clone());
        let invalidator = ManualInvalidator::covering(&store, cache.key_map().mapping()).await;
        Self { server, invalidator, cache }
    }

    /// Reads twice: returns the value and where the second read found it.
    async fn read(&mut self) -> (Option<u64>, Tier) {
        let first = self.cache.get(&7).await.expect("a value");
        let second = self.cache.get(&7).detailed().await.expect("a value");
        assert_eq!(first, second.value);
        (second.value, second.tier)
    }
}

fn key() -> StoreKey {
    StoreKey::encode("row", &7_u64).expect("a short key")
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_lacks_is_returned_and_not_kept() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.read().await, (Some(1), Tier::Shared), "the replica has executed all that is applied");
    scene.invalidator.apply(2, &key()).await;
    assert_eq!(scene.read().await, (Some(1), Tier::Database), "it lacks the commit that was invalidated");
    scene.server.reach(2);
    assert_eq!(scene.read().await, (Some(2), Tier::Shared));
    let many = scene.cache.get_many([7, 8]).await.expect("values");
    assert_eq!(many, [Some(2), Some(2)]);
    assert!(scene.cache.peek(&8).await.expect("a reply").is_some(), "a load of many keys has the fence of all of them");
    scene.invalidator.apply(3, &key()).await;
    scene.cache.get_many([7, 9]).await.expect("values");
    for lacking in [7, 9] {
        assert!(scene.cache.peek(&lacking).await.expect("a reply").is_none(), "{lacking}");
    }
}

/// The invalidation of commit 2 was sent; what it names is in no meta yet.
#[tokio::test(start_paused = true)]
async fn while_an_invalidation_is_not_applied_its_fence_is_waited_for() {
    let mut scene = Scene::new().await;
    let order = scene.invalidator.held.applied_order + 1;
    scene.invalidator.position.insert_range(&Arc::from("db"), 1, 2);
    scene.invalidator.writer.raise_high_watermark(&scene.invalidator.held, order).await.expect("raised");
    scene.invalidator.writer.invalidate(&[key()]).await.expect("invalidated");
    let began = tokio::time::Instant::now();
    assert_eq!(scene.read().await, (Some(1), Tier::Database));
    let wait = CacheSettings::default().fence_wait;
    assert!((wait * 2..wait * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
    // It is applied while a load waits: its fence contains the commit.
    let cache = scene.cache.clone();
    let read = tokio::spawn(async move { cache.get(&7).await });
    tokio::time::sleep(wait / 2).await; // sleep: on the paused clock, it takes no time
    scene.invalidator.commit_at(order).await;
    assert_eq!(read.await.expect("joined").expect("a value"), Some(1));
    assert!(scene.cache.peek(&7).await.expect("a reply").is_none(), "the replica lacks commit 2");
    scene.server.reach(2);
    assert_eq!(scene.read().await, (Some(2), Tier::Shared));
}

/// Each of many keys looks for its fence by itself.
#[tokio::test(start_paused = true)]
async fn many_keys_ask_for_their_fences_less_and_less_often() {
    let (memory, server) = (MemoryStore::new("t"), Server::replica());
    let store = crate::testing::FaultyStore::new(memory.clone());
    let cache = fenced(store.clone(), Arc::new(TokioClock::new()), server);
    let mut invalidator = ManualInvalidator::covering(&memory, cache.key_map().mapping()).await;
    let order = invalidator.held.applied_order + 1;
    invalidator.writer.raise_high_watermark(&invalidator.held, order).await.expect("raised");
    let began = tokio::time::Instant::now();
    cache.get_many(0..100).await.expect("values");
    let wait = CacheSettings::default().fence_wait;
    assert!((wait..wait * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    let looks = store.calls(crate::store::Operation::Get);
    assert!(looks < 100 * 40, "{looks} reads of the store for 100 keys");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_prolong_a_fence() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::replica());
    let clock = super::levels::SetBack::new();
    let cache = fenced(Arc::clone(&store), Arc::<super::levels::SetBack>::clone(&clock), server);
    let mut invalidator = ManualInvalidator::covering(&store, cache.key_map().mapping()).await;
    let order = invalidator.held.applied_order + 1;
    invalidator.writer.raise_high_watermark(&invalidator.held, order).await.expect("raised");
    let began = tokio::time::Instant::now();
    let read = tokio::spawn(async move { cache.get(&7).await });
    let wait = CacheSettings::default().fence_wait;
    tokio::time::sleep(wait / 2).await; // sleep: on the paused clock, it takes no time
    clock.set_back(Duration::from_secs(600));
    assert_eq!(read.await.expect("joined").expect("a value"), Some(1));
    assert!(began.elapsed() < wait * 2, "{:?}", began.elapsed());
}

#[test]
fn a_fenced_cache_is_another_mapping() {
    let builder = || Cache::<u64, u64>::builder("row").depends_on("shop.row", |_: &RowImage| Ok(vec![7_u64]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (plain, fenced) = (builder().build().expect("a cache"), builder().fenced().build().expect("a cache"));
        assert_ne!(plain.key_map().mapping(), fenced.key_map().mapping());
    });
}
