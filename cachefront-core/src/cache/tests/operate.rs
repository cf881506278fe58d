//! What operators do at run time: serving modes, explanations, hooks, shutdowns.

use std::sync::Mutex;

use super::hooks::{At, Hooked, hooked};
use super::*;
use crate::cache::{CacheObserver, LoadReason, LoadReport, ReadOutcome, ServingMode};

fn ttl_cache(store: &MemoryStore, database: &Database) -> CacheBuilder<u64, u64> {
    Cache::builder("row").shared(store.clone()).loader(database.clone())
}

#[tokio::test]
async fn a_read_only_cache_serves_and_stores_nothing() {
    let (store, database) = (MemoryStore::new("t"), Database::free());
    let (reading, filling) = (ttl_cache(&store, &database), ttl_cache(&store, &database));
    let (reading, filling) = (reading.build().expect("a cache"), filling.build().expect("a cache"));
    reading.set_serving_mode(ServingMode::ReadOnly);
    assert_eq!(reading.get(&1).await.expect("a value"), Some(1));
    assert_eq!(reading.get_many([1, 2]).await.expect("values"), [Some(1), Some(1)]);
    assert_eq!((store.entries(), database.loads()), (0, 3), "neither a lease nor a value is stored");
    filling.get(&1).await.expect("a value");
    let hit = reading.get(&1).detailed().await.expect("a hit");
    assert_eq!((hit.tier, database.loads()), (Tier::Shared, 4));
    reading.set_serving_mode(ServingMode::Normal);
    reading.get(&2).await.expect("a value");
    assert_eq!(store.entries(), 2);
}

#[tokio::test]
async fn the_local_tier_is_on_while_reads_may_be_served_from_it() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let by_age = ttl_cache(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    let is_on = |cache: &Cache<u64, u64>| cache.inner.subscription.is_local_on();
    assert!(is_on(&by_age), "no publisher has to turn it on");
    for (mode, on) in [
        (ServingMode::Bypass, false),
        (ServingMode::Shadow, false),
        (ServingMode::ReadOnly, true),
        (ServingMode::Normal, true),
    ] {
        by_age.set_serving_mode(mode);
        assert_eq!(is_on(&by_age), on, "{mode:?}");
    }
    let store = Arc::new(MemoryStore::new("u"));
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let by_log = builder(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    assert!(!is_on(&by_log));
    followed(&by_log, &mut invalidator).await;
    assert!(is_on(&by_log));
}

#[tokio::test]
async fn a_shadow_read_compares_the_database_with_the_cache() {
    let (store, database) = (MemoryStore::new("t"), Database::free());
    let cache = ttl_cache(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    assert_eq!(cache.get(&1).await.expect("a value"), Some(1));
    cache.set_serving_mode(ServingMode::Shadow);
    assert_eq!(cache.get(&1).detailed().await.expect("a hit").tier, Tier::Database);
    // A write that nothing has invalidated: the cache would have served the old value.
    database.write(2);
    assert_eq!(cache.get(&1).await.expect("a value"), Some(2));
    assert_eq!(cache.get_many([1]).await.expect("values"), [Some(2)]);
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2), "it is not cached");
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2), "and it is now");
    let stats = cache.stats();
    assert_eq!((stats.shadow_equal, stats.shadow_different), (2, 2), "{stats:?}");
    cache.set_serving_mode(ServingMode::Normal);
    assert_eq!(cache.get(&1).await.expect("a value"), Some(1), "shadow reads did not change what is cached");
}

#[tokio::test]
async fn a_shadow_reads_bound_counts_to_the_end_of_the_comparison() {
    let (clock, rows) = (Arc::new(ManualClock::new()), Database::free());
    let memory = MemoryStore::new("t").with_clock(Arc::<ManualClock>::clone(&clock));
    let _invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let cache = hooked(&store, &rows).clock(Arc::<ManualClock>::clone(&clock)).build().expect("a cache");
    cache.get(&7).await.expect("a value");
    rows.write(2);
    cache.set_serving_mode(ServingMode::Shadow);
    let long = Duration::from_secs(2);
    for many in [false, true] {
        // The second look at the cached value takes long.
        store.once(At::BeforePeek, {
            let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
            async move { store.once(At::BeforePeek, async move { clock.advance(long) }) }
        });
        let hit = match many {
            false => cache.get(&7).detailed().await.expect("a value"),
            true => cache.get_many([7]).detailed().await.expect("values").remove(0),
        };
        assert_eq!((hit.value, hit.tier), (Some(2), Tier::Database));
        assert!(hit.staleness_bound.is_some_and(|bound| bound >= long), "{hit:?}");
        assert!(hit.age.is_some_and(|age| age >= long), "{hit:?}");
    }
}

#[tokio::test]
async fn a_change_during_a_shadow_read_is_no_difference() {
    let (store, database) = (MemoryStore::new("t"), Database::default());
    database.0.returning.add_permits(1);
    let cache = ttl_cache(&store, &database).build().expect("a cache");
    cache.get(&1).await.expect("a value");
    cache.set_serving_mode(ServingMode::Shadow);
    database.write(2);
    database.0.reading.notified().await;
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&1).await }
    });
    database.0.reading.notified().await;
    cache.invalidate(&1).await.expect("an invalidation");
    database.0.returning.add_permits(1);
    assert_eq!(read.await.expect("no panic").expect("a value"), Some(2));
    assert_eq!(cache.stats().shadow_different, 0);
}

#[tokio::test]
async fn an_explanation_names_the_reason_that_the_read_path_finds() {
    let (store, database) = (MemoryStore::new("t"), Database::free());
    let cache = builder(&Arc::new(store.clone()), &database).build().expect("a cache");
    let reason = async || cache.explain(&1).await.expect("an explanation").would_load;
    assert_eq!(reason().await, Some(LoadReason::NoMeta));
    let mut invalidator = ManualInvalidator::begin(&store).await;
    assert_eq!(reason().await, Some(LoadReason::Absent));
    cache.get(&1).await.expect("a value");
    let served = cache.explain(&1).await.expect("an explanation");
    assert_eq!((served.served_from, served.would_load), (Some(Tier::Shared), None));
    let found = served.store.expect("a reading");
    let (entry, meta) = (found.entry.expect("an entry"), found.meta.expect("a meta"));
    assert_eq!((entry.state, entry.position.as_deref()), ("value", Some("db:1")));
    assert_eq!(meta.generation, Some(entry.generation));
    invalidator.writer.invalidate(&[StoreKey::encode("row", &1_u64).expect("a key")]).await.expect("invalidated");
    assert_eq!(reason().await, Some(LoadReason::Absent));
    cache.set_serving_mode(ServingMode::Bypass);
    assert_eq!(reason().await, Some(LoadReason::ServingMode));
    cache.set_serving_mode(ServingMode::Normal);
    cache.get(&1).await.expect("a value");
    store.suspend().await.expect("suspended");
    assert_eq!(reason().await, Some(LoadReason::Suspended));
    let _second = ManualInvalidator::begin(&store).await;
    assert_eq!(reason().await, Some(LoadReason::OtherGeneration));
    let text = serde_json::to_string(&cache.explain(&1).await.expect("an explanation")).expect("it is serialisable");
    assert!(text.contains("\"would_load\":\"other_generation\""), "{text}");
}

#[tokio::test]
async fn an_explanation_has_no_effect_and_reports_a_lease_in_progress() {
    let (store, database) = (MemoryStore::new("t"), Database::default());
    let cache = ttl_cache(&store, &database).build().expect("a cache");
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&1).await }
    });
    database.0.reading.notified().await;
    let explanation = cache.explain(&1).await.expect("an explanation");
    assert_eq!((explanation.would_load, explanation.load_in_progress), (Some(LoadReason::Loading), true));
    assert!(explanation.store.expect("a reading").entry.expect("an entry").lease.is_some());
    database.0.returning.add_permits(1);
    read.await.expect("no panic").expect("a value");
    assert_eq!(database.loads(), 1);
}

#[derive(Default)]
struct Seen {
    reads: Mutex<Vec<(u64, &'static str)>>,
    loads: Mutex<Vec<(u64, bool, bool)>>,
    local: bool,
}

impl CacheObserver<u64> for Seen {
    fn wants_local_hits(&self) -> bool {
        self.local
    }

    fn read(&self, key: &u64, outcome: ReadOutcome) {
        self.reads.lock().expect("unpoisoned").push((*key, outcome.as_str()));
    }

    fn loaded(&self, key: &u64, report: &LoadReport) {
        self.loads.lock().expect("unpoisoned").push((*key, report.stored, report.error.is_some()));
    }
}

#[tokio::test]
async fn an_observer_sees_reads_and_loads() {
    for local in [false, true] {
        let seen = Arc::new(Seen { local, ..Seen::default() });
        let database = Database::free();
        let cache = ttl_cache(&MemoryStore::new("t"), &database)
            .local(Local::max_weight(1 << 20))
            .observer(Arc::clone(&seen))
            .build()
            .expect("a cache");
        cache.get(&1).await.expect("a value");
        cache.get(&1).await.expect("a value");
        cache.get_many([2]).await.expect("values");
        cache.get(&1).bypass().await.expect("a value");
        database.0.fails.store(true, Ordering::SeqCst);
        cache.get(&3).await.expect_err("no database");
        let mut expected = vec![(1, "miss"), (1, "local"), (2, "miss"), (1, "bypass"), (3, "miss")];
        expected.retain(|(_, outcome)| local || *outcome != "local");
        assert_eq!(*seen.reads.lock().expect("unpoisoned"), expected);
        let loads = [(1, true, false), (2, true, false), (1, false, false), (3, false, true)];
        assert_eq!(*seen.loads.lock().expect("unpoisoned"), loads);
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_loads_in_progress_and_refuses_new_ones() {
    let (store, database) = (MemoryStore::new("t"), Database::default());
    let cache = ttl_cache(&store, &database).build().expect("a cache");
    drop(tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&1).await }
    }));
    database.0.reading.notified().await;
    let shutdown = tokio::spawn({
        let cache = cache.clone();
        async move { cache.shutdown().await }
    });
    wait_until("the shutdown has begun", async || cache.inner.tasks.is_closed()).await;
    for refused in [cache.get(&2).await, cache.get(&2).bypass().await, cache.get_many([2]).await.map(|_| None)] {
        assert_eq!(refused.expect_err("no load begins").kind(), ErrorKind::Closed);
    }
    assert!(!shutdown.is_finished(), "a load runs");
    database.0.returning.add_permits(1);
    shutdown.await.expect("no panic").expect("drained");
    assert_eq!(
        cache.get(&1).detailed().await.expect("a hit").tier,
        Tier::Shared,
        "what was loaded is stored and served"
    );
    assert_eq!(database.loads(), 1);
}

#[tokio::test]
async fn a_strong_load_goes_on_without_its_reader() {
    let seen = Arc::new(Seen::default());
    let database = Database::default();
    let cache = ttl_cache(&MemoryStore::new("t"), &database).observer(Arc::clone(&seen)).build().expect("a cache");
    let one = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&1).bypass().await.map(|_| ()) }
    });
    database.0.reading.notified().await;
    let many = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_many([2]).bypass().await.map(|_| ()) }
    });
    database.0.reading.notified().await;
    for reader in [one, many] {
        reader.abort();
        assert!(reader.await.expect_err("it was given up").is_cancelled());
    }
    let shutdown = tokio::spawn({
        let cache = cache.clone();
        async move { cache.shutdown().await }
    });
    wait_until("the shutdown has begun", async || cache.inner.tasks.is_closed()).await;
    assert!(!shutdown.is_finished(), "two loads run");
    database.0.returning.add_permits(2);
    shutdown.await.expect("no panic").expect("drained");
    let mut loads = seen.loads.lock().expect("unpoisoned").clone();
    loads.sort_unstable();
    assert_eq!(loads, [(1, false, false), (2, false, false)]);
}

#[tokio::test]
async fn a_report_has_the_time_without_the_fill() {
    #[derive(Default)]
    struct Times(Mutex<Vec<Duration>>);

    impl CacheObserver<u64> for Times {
        fn loaded(&self, _key: &u64, report: &LoadReport) {
            self.0.lock().expect("unpoisoned").push(report.took);
        }
    }

    let (clock, times) = (Arc::new(ManualClock::new()), Arc::new(Times::default()));
    let memory = MemoryStore::new("t").with_clock(Arc::<ManualClock>::clone(&clock));
    let _invalidator = ManualInvalidator::begin(&memory).await;
    let (store, rows) = (Hooked::new(&memory), Database::free());
    let cache = hooked(&store, &rows).clock(Arc::<ManualClock>::clone(&clock)).observer(Arc::clone(&times));
    let cache = cache.build().expect("a cache");
    let slow = Arc::<ManualClock>::clone(&clock);
    store.once(At::BeforeFill, async move { slow.advance(Duration::from_secs(2)) });
    cache.get(&7).await.expect("a value");
    assert_eq!(*times.0.lock().expect("unpoisoned"), [Duration::ZERO]);
}

#[tokio::test]
async fn a_shutdown_ends_after_its_time() {
    let (clock, database) = (ManualClock::new(), Database::default());
    let cache = Cache::builder("row").clock(Arc::new(clock.clone())).loader(database.clone()).build().expect("a cache");
    let reader: Cache<u64, u64> = cache.clone();
    drop(tokio::spawn(async move { reader.get(&1).await }));
    database.0.reading.notified().await;
    let shutdown = tokio::spawn(async move { cache.shutdown().await });
    clock.sleeping(2).await;
    clock.advance(CacheSettings::default().drain_max);
    assert_eq!(shutdown.await.expect("no panic").expect_err("a load runs").kind(), ErrorKind::Timeout);
}
