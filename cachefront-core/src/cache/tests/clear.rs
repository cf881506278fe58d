//! Explicit invalidation of many keys, and of everything in a cache.

use super::hooks::{At, Hooked, hooked};
use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{LayeredStore, Operation as Call, StoreLayer};
use crate::testing::FaultyStore;

fn other_cache(store: &Arc<MemoryStore>, database: &Database) -> Cache<u64, u64> {
    Cache::builder("other").shared(Arc::clone(store)).loader(database.clone()).build().expect("a cache")
}

async fn tier_of(cache: &Cache<u64, u64>, key: u64) -> Tier {
    cache.get(&key).detailed().await.expect("a value").tier
}

#[tokio::test]
async fn a_clear_reaches_every_process_and_no_other_cache() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let caches = [0, 1].map(|_| builder(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache"));
    let by_age = other_cache(&store, &database);
    for cache in &caches {
        followed(cache, &mut invalidator).await;
    }
    for key in 0..100 {
        for cache in caches.iter().chain([&by_age]) {
            cache.get(&key).await.expect("a value");
        }
    }
    assert_eq!(tier_of(&caches[0], 7).await, Tier::Local);
    database.write(2);
    caches[1].clear().await.expect("cleared");
    assert_eq!(caches[1].get_many(0..100).await.expect("values"), [Some(2); 100]);
    wait_until("the other process has cleared its tier", || async {
        caches[0].get(&7).await.expect("a value") == Some(2)
    })
    .await;
    assert_eq!(tier_of(&caches[0], 8).await, Tier::Shared, "it is cached again");
    assert_eq!(by_age.get(&7).await.expect("a value"), Some(1), "the other cache keeps its values");
    // The invalidator has noticed nothing, and its next batch is applied.
    database.write(3);
    invalidator.apply(3, &key()).await;
    wait_until("the batch is applied", || async { caches[0].get(&7).await.expect("a value") == Some(3) }).await;
}

#[tokio::test]
async fn a_load_in_progress_does_not_survive_a_clear() {
    for by_log in [true, false] {
        let (store, database) = (Arc::new(MemoryStore::new("t")), Database::default());
        let mut invalidator = ManualInvalidator::begin(&store).await;
        let mode = if by_log { InvalidationMode::Cdc } else { InvalidationMode::Ttl };
        let [cache, other] = [0, 1]
            .map(|_| builder(&store, &database).mode(mode).local(Local::max_weight(1 << 20)).build().expect("a cache"));
        if by_log {
            followed(&cache, &mut invalidator).await;
        }
        let old = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get(&7).await }
        });
        database.0.reading.notified().await;
        database.write(2);
        other.clear().await.expect("cleared");
        database.0.returning.add_permits(10);
        assert_eq!(old.await.expect("joined").expect("a value"), Some(1), "it began before");
        wait_until("the old value is in no tier", || async { cache.get(&7).await.expect("a value") == Some(2) }).await;
        assert_eq!(other.get(&7).await.expect("a value"), Some(2));
    }
}

/// A value that is put into this process's tier after its epochs advanced, and before the store was cleared.
#[tokio::test]
async fn a_clear_also_removes_values_inserted_meanwhile() {
    let (memory, database) = (MemoryStore::new("t"), Database::free());
    let mut invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let cache = hooked(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    followed(&cache, &mut invalidator).await;
    store.once(At::BeforeFlush, {
        let cache = cache.clone();
        async move {
            cache.get(&7).await.expect("a value");
            assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Local);
        }
    });
    store.once(At::AfterFlush, async move { database.write(2) });
    cache.clear().await.expect("cleared");
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2));
}

/// During a rolling deploy another release may cover the cache under its own mapping.
#[tokio::test]
async fn a_clear_ends_the_entries_of_another_release_too() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).build().expect("a cache");
    cache.get(&7).await.expect("a value");
    database.write(2);
    let other_process = MemoryStore::clone(&store);
    let next = Cache::<u64, u64>::builder("row")
        .shared(Hooked::with_bus_of(&other_process, &other_process))
        .mapping_version(1)
        .depends_on("shop.row", |row| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    next.clear().await.expect("cleared");
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2));
}

/// One shard's table of coverage is not that of the others: its node has fallen back, or the table is being written.
#[tokio::test]
async fn a_clear_ends_entries_of_another_release_on_every_shard() {
    for id in 0..4 {
        let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
        let _invalidator = ManualInvalidator::begin(&store).await;
        let cache = builder(&store, &database).build().expect("a cache");
        let key = StoreKey::encode("row", &id).expect("a key");
        store.change_meta_of(&key, |meta| {
            let next = MappingId::new("row", &table_filter(), &[], 1);
            let row = Covered { mapping: next, generation: Generation(rand_u128()), cache: "row".into() };
            meta.coverage = Coverage::union([&meta.coverage, &Coverage::new([row])]);
        });
        let process = Hooked::with_bus_of(&store, &store);
        let next = hooked(&process, &database).mapping_version(1).build().expect("a cache");
        next.get(&id).await.expect("a value");
        assert_eq!(next.get(&id).detailed().await.expect("a value").tier, Tier::Shared);
        database.write(2);
        cache.clear().await.expect("cleared");
        assert_eq!(next.get(&id).await.expect("a value"), Some(2));
    }
}

/// A store whose coverage cannot be read.
#[derive(Debug)]
struct Uncovered;

impl StoreLayer for Uncovered {
    async fn around<T: Send>(&self, call: Call, done: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match call {
            Call::Covered => Err(Error::new(ErrorKind::Unavailable, "one node is away")),
            _ => done.await,
        }
    }
}

#[tokio::test]
async fn a_clear_that_may_have_missed_a_release_is_an_error() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache: Cache<u64, u64> = Cache::builder("row")
        .shared(LayeredStore::around(MemoryStore::clone(&store), Uncovered))
        .loader(database.clone())
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    cache.get(&7).await.expect("a value");
    database.write(2);
    cache.clear().await.expect_err("the coverage cannot be read");
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2));
}

#[tokio::test]
async fn many_keys_are_invalidated_in_bounded_commands() {
    let (memory, database) = (MemoryStore::new("t"), Database::free());
    let _invalidator = ManualInvalidator::begin(&memory).await;
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let settings = CacheSettings { keys_per_command_max: 30, ..CacheSettings::default() };
    let cache = Cache::<u64, u64>::builder("row")
        .settings(settings)
        .shared(Arc::clone(&store))
        .loader(database.clone())
        .depends_on("shop.row", |row| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    cache.get_many(0..100).await.expect("values");
    database.write(2);
    let mut bus = memory.bus().subscribe().await.expect("a reader");
    cache.invalidate_many(10..100).await.expect("invalidated");
    let mut expected = vec![Some(1); 10];
    expected.resize(100, Some(2));
    assert_eq!(cache.get_many(0..100).await.expect("values"), expected);
    let mut announced = Vec::new();
    while announced.len() < 3 {
        for read in bus.next().await.expect("messages") {
            if let BusEvent::Keys(keys) = read.message.event {
                announced.push(keys.len());
            }
        }
    }
    assert_eq!(announced, [30, 30, 30]);
    cache.invalidate_many([] as [u64; 0]).await.expect("nothing to do");

    store.set_down(true);
    cache.invalidate_many(0..3).await.expect_err("the store is away");
    cache.clear().await.expect_err("the store is away");
}

/// Not promised: no log has the clear, so nothing repeats it when the store falls back to an older state.
#[tokio::test]
async fn a_clear_that_a_failover_of_the_store_loses_is_not_repeated() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).build().expect("a cache");
    cache.get(&7).await.expect("a value");
    let before = store.get(&key()).await.expect("a reading").meta.expect("a meta");
    let generation = before.coverage.generation(mapping()).expect("the cache is covered");
    cache.clear().await.expect("cleared");
    assert!(cache.peek(&7).await.expect("a peek").is_none());
    store.flush_caches(&[(mapping(), generation)]).await.expect("the older state");
    database.write(2);
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
}

/// It is kept by its age, and no heartbeat ever turns the tier on.
#[tokio::test]
async fn a_value_kept_without_the_bus_outlives_no_lost_invalidation() {
    for mode in [Some(InvalidationMode::Ttl), None] {
        let (memory, database) = (MemoryStore::new("t"), Database::free());
        let store = FaultyStore::new(memory.clone());
        store.set_down(true);
        let plain = Cache::builder("row").loader(database.clone());
        let tables =
            |cache: CacheBuilder<u64, u64>| cache.depends_on("shop.row", |row: &RowImage| Ok(vec![row.get("id")?]));
        let plain = match mode {
            Some(mode) => tables(plain).mode(mode),
            None => plain,
        };
        let cache = plain.shared(store.clone()).local(Local::max_weight(1 << 20)).build().expect("a cache");
        assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
        database.write(2);
        assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Local);
        // Another process invalidates the key, and its message is lost on this one.
        let other: Cache<u64, u64> = Cache::builder("row").shared(memory).build().expect("a cache");
        other.invalidate(&7).await.expect("invalidated");
        store.set_down(false);
        wait_until("the bus is read again", || async { cache.get(&7).await.expect("a value") == Some(2) }).await;
    }
}

/// In CDC mode a clear replaces the generation, and leaves the entries where they are.
#[tokio::test]
async fn what_was_cleared_in_cdc_mode_is_not_served_by_its_age() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).build().expect("a cache");
    cache.get(&7).await.expect("a value");
    database.write(2);
    cache.clear().await.expect("cleared");
    cache.set_mode(InvalidationMode::Ttl);
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2));
}
