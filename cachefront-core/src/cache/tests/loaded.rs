//! What a loader decides about its values, and loads that find a value unchanged.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;

use super::hooks::{At, Hooked};
use super::*;
use crate::cache::Hit;
use crate::loader::{LoadedValue, Reloaded};

const TTL: Duration = Duration::from_secs(60);

/// A row with a version, whose loader notes how it was asked.
#[derive(Clone, Default)]
struct Versioned(Arc<VersionedRow>);

#[derive(Default)]
struct VersionedRow {
    database: Database,
    /// What the loader of a conditional reload was given.
    reloads: Mutex<Vec<u64>>,
    /// A careless loader: every value is unchanged.
    careless: std::sync::atomic::AtomicBool,
}

impl Versioned {
    fn free() -> Self {
        Self(Arc::new(VersionedRow { database: Database::free(), ..VersionedRow::default() }))
    }

    fn reloads(&self) -> Vec<u64> {
        self.0.reloads.lock().expect("unpoisoned").clone()
    }
}

impl Loader<u64, u64> for Versioned {
    type Error = io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, io::Error> {
        self.0.database.load(key, cx).await
    }

    fn reloads(&self) -> bool {
        true
    }

    async fn reload(&self, key: &u64, previous: &u64, cx: &LoadCx) -> Result<Reloaded<u64>, io::Error> {
        self.0.reloads.lock().expect("unpoisoned").push(*previous);
        let value = self.0.database.load(key, cx).await?;
        let unchanged = value == Some(*previous) || self.0.careless.load(Ordering::SeqCst);
        Ok(if unchanged { Reloaded::NotModified } else { value.into() })
    }
}

struct Fixture {
    clock: Arc<ManualClock>,
    memory: MemoryStore,
    store: Arc<Hooked>,
    row: Versioned,
}

impl Fixture {
    async fn new() -> (Self, ManualInvalidator) {
        let clock = Arc::new(ManualClock::new());
        let memory = MemoryStore::new("t").with_clock(Arc::<ManualClock>::clone(&clock));
        let invalidator = ManualInvalidator::begin(&memory).await;
        let (store, row) = (Hooked::new(&memory), Versioned::free());
        (Self { clock, memory, store, row }, invalidator)
    }

    fn cache(&self) -> Cache<u64, u64> {
        let settings = CacheSettings::default().with_on_lag(crate::settings::OnLag::Serve);
        Cache::builder("row")
            .settings(settings)
            .ttl(TTL)
            .jitter(0.0)
            .clock(Arc::<ManualClock>::clone(&self.clock))
            .shared(Arc::clone(&self.store))
            .loader(self.row.clone())
            .stale_while_revalidate(TTL)
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache")
    }

    /// Lets the value become due for a refresh, and reads it.
    async fn refresh(&self, cache: &Cache<u64, u64>) -> Option<u64> {
        self.clock.advance(TTL + Duration::from_secs(1));
        let value = cache.get(&7).await.expect("a value");
        wait_until("the refresh has ended", || async { cache.inner.flights.waiters_or_none(&7).is_none() }).await;
        value
    }
}

async fn hit(cache: &Cache<u64, u64>) -> Hit<u64> {
    cache.get(&7).detailed().await.expect("a value")
}

#[tokio::test]
async fn an_unchanged_value_is_stored_with_the_time_of_its_new_load() {
    let (fixture, _invalidator) = Fixture::new().await;
    let cache = fixture.cache();
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    assert_eq!(fixture.refresh(&cache).await, Some(1));
    assert_eq!(fixture.row.reloads(), [1]);
    let fresh = hit(&cache).await;
    assert_eq!((fresh.value, fresh.tier, fresh.age), (Some(1), Tier::Shared, Some(Duration::ZERO)));
    assert_eq!(cache.stats().loads, 2);
    // A value that has changed is the one that the loader returns.
    fixture.row.0.database.write(2);
    fixture.refresh(&cache).await;
    assert_eq!((hit(&cache).await.value, fixture.row.reloads()), (Some(2), vec![1, 1]));
}

#[tokio::test]
async fn an_unchanged_value_has_the_position_of_its_new_load() {
    let (fixture, _invalidator) = Fixture::new().await;
    let cache = fixture.cache();
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    fixture.row.0.database.write(2);
    fixture.row.0.careless.store(true, Ordering::SeqCst);
    let token: Position = "db:2".parse().expect("a position");
    let reloaded = cache.get(&7).at_least(&token).detailed().await.expect("a value");
    assert_eq!((reloaded.value, reloaded.tier), (Some(1), Tier::Database), "the loader says that it is unchanged");
    assert_eq!(cache.get(&7).at_least(&token).detailed().await.expect("a value").tier, Tier::Shared);
}

/// The value is invalidated between its lookup and the lease, and its loader cannot tell two versions apart.
#[tokio::test]
async fn a_value_that_was_invalidated_before_the_lease_is_not_offered() {
    let (fixture, mut invalidator) = Fixture::new().await;
    let cache = fixture.cache();
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    fixture.row.0.careless.store(true, Ordering::SeqCst);
    fixture.row.0.database.write(2);
    fixture.store.once(At::BeforeLease, async move { invalidator.apply(2, &key()).await });
    fixture.refresh(&cache).await;
    assert_eq!(fixture.row.reloads(), [0_u64; 0]);
    assert_eq!(hit(&cache).await.value, Some(2));
}

/// The value that the lease was taken over is replaced by another process before it is read.
#[tokio::test]
async fn a_value_of_another_lease_is_not_offered() {
    let (fixture, mut invalidator) = Fixture::new().await;
    let (cache, other) = (fixture.cache(), {
        let plain = Database::free();
        plain.write(2);
        builder(&Arc::new(fixture.memory.clone()), &plain).build().expect("another process's cache")
    });
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    fixture.row.0.careless.store(true, Ordering::SeqCst);
    fixture.row.0.database.write(2);
    fixture.store.once(At::AfterLease, async move {
        invalidator.apply(2, &key()).await;
        assert_eq!(other.get(&7).await.expect("a value"), Some(2));
    });
    fixture.refresh(&cache).await;
    assert_eq!((fixture.row.reloads(), hit(&cache).await.value), (vec![], Some(2)));
}

#[tokio::test]
async fn an_unchanged_value_that_an_invalidation_overtook_is_not_stored() {
    let (mut fixture, mut invalidator) = Fixture::new().await;
    let cache = fixture.cache();
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    let held = Versioned::default();
    held.0.careless.store(true, Ordering::SeqCst);
    fixture.row = held.clone();
    let slow = fixture.cache();
    fixture.clock.advance(TTL + Duration::from_secs(1));
    assert_eq!(slow.get(&7).await.expect("a value"), Some(1));
    wait_until("the reload has begun", || async { held.reloads() == [1] }).await;
    held.0.database.write(2);
    invalidator.apply(2, &key()).await;
    held.0.database.0.returning.add_permits(8);
    wait_until("the reload has ended", || async { slow.inner.flights.waiters_or_none(&7).is_none() }).await;
    assert_eq!(hit(&slow).await.value, Some(2));
}

/// Prices, each with a decision of its own; odd ones cannot be loaded.
struct Prices;

impl Loader<u64, u64> for Prices {
    type Error = io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, io::Error> {
        cx.ttl(TTL);
        cx.ttl(TTL / 4);
        cx.ttl(TTL / 2);
        Ok(Some(*key))
    }

    async fn load_each(&self, keys: &[u64], cx: &LoadCx) -> io::Result<HashMap<u64, io::Result<LoadedValue<u64>>>> {
        cx.ttl(TTL);
        let price = |key: u64| match key {
            0 => Ok(LoadedValue::from(None)),
            2 => Ok(LoadedValue::from(Some(2)).ttl(TTL / 2)),
            4 => Ok(LoadedValue::from(Some(4)).no_store()),
            odd if odd % 2 == 1 => Err(io::Error::other("this shard is away")),
            other => Ok(LoadedValue::from(Some(other))),
        };
        Ok(keys.iter().map(|key| (*key, price(*key))).collect())
    }
}

#[tokio::test]
async fn each_value_of_a_batch_has_a_result_of_its_own() {
    let clock = Arc::new(ManualClock::new());
    let cache: Cache<u64, u64> = Cache::builder("prices")
        .jitter(0.0)
        .clock(Arc::<ManualClock>::clone(&clock))
        .loader(Prices)
        .build()
        .expect("a cache in TTL mode");
    let found = cache.get_many([0, 1, 2, 3, 4, 6]).per_key().await;
    let values: Vec<_> = found.iter().map(|hit| hit.as_ref().ok().and_then(|hit| hit.value)).collect();
    assert_eq!(values, [None, None, Some(2), None, Some(4), Some(6)]);
    let failed: Vec<_> = found.iter().filter_map(|hit| hit.as_ref().err()).collect();
    assert!(failed.iter().all(|error| error.load_error::<io::Error>().is_some()) && failed.len() == 2, "{failed:?}");
    assert!(found[0].is_ok(), "absence is no failure");
    let ttl = async |key: u64| cache.peek(&key).await.expect("a peek").and_then(|hit| hit.ttl);
    assert_eq!((ttl(2).await, ttl(4).await, ttl(6).await), (Some(TTL / 2), None, Some(TTL)));
    assert_eq!(ttl(1).await, None, "what could not be loaded is not cached");
    let strong = cache.get_many([1, 2]).bypass().per_key().await;
    assert!(strong[0].is_err() && strong[1].as_ref().is_ok_and(|hit| hit.value == Some(2)), "{strong:?}");
    // A failed key can be loaded again at once.
    assert!(cache.get_many([1]).await.is_err());
    assert_eq!(cache.get(&1).detailed().await.expect("a value").ttl, Some(TTL / 4), "the shortest of several counts");
}
