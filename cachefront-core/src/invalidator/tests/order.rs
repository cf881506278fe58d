//! The order of an invalidator's writes ("Batch order", "Flush order").

use super::*;
use crate::testing::{FaultyStore, Operation as Call};

struct Scene {
    store: Arc<FaultyStore>,
    source: ScriptedSource,
    cache: Cache<u64, u64>,
}

impl Scene {
    fn new() -> Self {
        let (store, table) = (Arc::new(FaultyStore::new(MemoryStore::new("t"))), Table::default());
        let cache = Cache::builder("row")
            .shared(Arc::clone(&store))
            .loader(table)
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache");
        Self { store, source: ScriptedSource::new("server-a"), cache }
    }

    async fn run(&self) -> CdcHandle {
        // Without heartbeats in between.
        let settings = CdcSettings { heartbeat: Duration::from_secs(600), ..CdcSettings::default() };
        let cdc = Cdc::new(self.source.clone()).bind(&self.cache).settings(settings).spawn().expect("spawned");
        cdc.ready().await.expect("ready");
        cdc
    }

    async fn calls_for(&self, change: Change) -> Vec<Call> {
        self.store.take_history();
        self.source.commit([change]);
        let executed = self.source.executed();
        wait_until("it is acknowledged", || async { self.source.acknowledged().covers(&executed) }).await;
        self.store.take_history()
    }
}

#[tokio::test]
async fn a_batch_marks_invalidates_publishes_and_commits_in_this_order() {
    let scene = Scene::new();
    let _cdc = scene.run().await;
    assert_eq!(
        scene.calls_for(row(1)).await,
        [Call::RaiseHighWatermark, Call::Invalidate, Call::Publish, Call::Commit]
    );
}

#[tokio::test]
async fn a_flush_of_one_cache_begins_with_its_generation() {
    let scene = Scene::new();
    let _cdc = scene.run().await;
    let truncate = Change::Tables { tables: vec!["shop.row".into()], reason: "TRUNCATE".into() };
    let calls = scene.calls_for(truncate).await;
    assert_eq!(calls, [Call::RaiseHighWatermark, Call::Cover, Call::Publish, Call::Publish, Call::Commit]);
}

#[tokio::test]
async fn a_change_without_keys_only_moves_applied() {
    let scene = Scene::new();
    let _cdc = scene.run().await;
    let Change::Row(change) = row(1) else { panic!("a row") };
    let elsewhere = Change::Row(RowChange { table: "shop.other".into(), ..change });
    assert_eq!(scene.calls_for(elsewhere).await, [Call::Commit]);
}

#[tokio::test]
async fn a_session_takes_the_term_and_covers_before_its_first_batch() {
    let scene = Scene::new();
    scene.run().await.shutdown().await;
    scene.store.take_history();
    let _cdc = scene.run().await;
    let calls: Vec<Call> = scene.store.take_history();
    let wanted = [Call::TakeTerm, Call::Cover, Call::Publish];
    let order: Vec<_> = calls.iter().filter(|call| wanted.contains(call)).copied().collect();
    assert_eq!(order, wanted, "{calls:?}");
}

#[tokio::test]
async fn a_flush_of_everything_waits_at_the_gate_with_the_store_suspended() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.read(1).await;
    assert_eq!(world.read(1).await, (Some(10), Tier::Shared));
    let flushes = cdc.status().flushes_total;
    world.source.hide();
    world.source.commit([row(1)]);
    world.source.fail(Error::new(ErrorKind::Gap, "an event could not be read"));
    wait_until("what is cached is not served", || async { world.read(1).await.1 == Tier::Database }).await;
    for _ in 0..3 {
        assert_eq!(world.read(1).await, (Some(10), Tier::Database), "and what is loaded is not stored");
    }
    assert_eq!(cdc.status().flushes_total, flushes, "no generation begins before its head is visible");
    world.table.set(1, 11);
    world.source.reveal();
    wait_until("a new generation begins", || async { cdc.status().flushes_total > flushes }).await;
    world.read(1).await;
    wait_until("it is served", || async { world.read(1).await == (Some(11), Tier::Shared) }).await;
}

#[tokio::test]
async fn a_flush_of_everything_clears_the_local_tiers() {
    let world = World::new();
    world.table.set(1, 10);
    let local = crate::cache::Local::max_weight(1 << 20);
    let reader = Cache::builder("row")
        .shared(Arc::clone(&world.store))
        .loader(world.table.clone())
        .local(local)
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    let _cdc = world.run().await;
    let tier = || async { reader.get(&1).detailed().await.expect("a value").tier };
    wait_until("the local tier serves", || async { tier().await == Tier::Local }).await;
    world.table.set(1, 11);
    world.source.fail(Error::new(ErrorKind::Gap, "an event could not be read"));
    wait_until("the new value is read", || async { reader.get(&1).await.expect("a value") == Some(11) }).await;
}

/// A loader that reports what its server had executed.
#[derive(Clone)]
struct Positioned(ScriptedSource, Table);

impl Loader<u64, u64> for Positioned {
    type Error = std::io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        cx.position(self.0.executed());
        Loader::load(&self.1, key, cx).await
    }
}

#[tokio::test]
async fn a_value_that_contains_a_commit_survives_its_event() {
    for compared_keys_max in [64, 0] {
        let (store, source, table) =
            (Arc::new(MemoryStore::new("t")), ScriptedSource::new("server-a"), Table::default());
        let cache = Cache::builder("row")
            .shared(Arc::clone(&store))
            .loader(Positioned(source.clone(), table.clone()))
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache");
        let settings =
            CdcSettings { compared_keys_max, gate_timeout: Duration::from_millis(20), ..CdcSettings::default() };
        let cdc = Cdc::new(source.clone()).bind(&cache).settings(settings).spawn().expect("spawned");
        cdc.ready().await.expect("ready");
        table.set(1, 10);
        cache.get(&1).await.expect("a value");
        // The writer reads its own write before the invalidator may apply it.
        source.hide();
        table.set(1, 11);
        source.commit([row(1)]);
        let token = source.executed();
        let mine = cache.get(&1).at_least(&token).detailed().await.expect("a value");
        assert_eq!((mine.value, mine.tier), (Some(11), Tier::Database));
        source.reveal();
        wait_until("it is applied", || async { cdc.status().applied.covers(&token) }).await;
        let again = cache.get(&1).detailed().await.expect("a value");
        let kept = if compared_keys_max > 0 { Tier::Shared } else { Tier::Database };
        assert_eq!((again.value, again.tier), (Some(11), kept));
        // A commit that the load had not seen removes it.
        table.set(1, 12);
        source.commit([row(1)]);
        let token = source.executed();
        wait_until("it is applied", || async { cdc.status().applied.covers(&token) }).await;
        assert_eq!(cache.get(&1).await.expect("a value"), Some(12));
    }
}
