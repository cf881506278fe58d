//! Refresh in the background, and stale values instead of errors.

use super::hooks::{At, Hooked, hooked};
use super::*;
use crate::cache::Hit;

const TTL: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(30);

struct Fixture {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    database: Database,
    cache: Cache<u64, u64>,
}

impl Fixture {
    async fn new(change: impl FnOnce(CacheBuilder<u64, u64>) -> CacheBuilder<u64, u64>) -> (Self, ManualInvalidator) {
        let clock = Arc::new(ManualClock::new());
        let store = Arc::new(MemoryStore::new("t").with_clock(Arc::<ManualClock>::clone(&clock)));
        let (database, mut invalidator) = (Database::free(), ManualInvalidator::begin(&store).await);
        let cache = change(Self::builder(&store, &clock, &database)).build().expect("a cache");
        followed(&cache, &mut invalidator).await;
        (Self { clock, store, database, cache }, invalidator)
    }

    fn builder(store: &Arc<MemoryStore>, clock: &Arc<ManualClock>, database: &Database) -> CacheBuilder<u64, u64> {
        let settings = CacheSettings::default()
            .with_on_lag(crate::settings::OnLag::Serve)
            .with_bus_silence_max(Duration::from_secs(3_600));
        Cache::builder("row")
            .settings(settings)
            .ttl(TTL)
            .jitter(0.0)
            .clock(Arc::<ManualClock>::clone(clock))
            .shared(Arc::clone(store))
            .loader(database.clone())
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.clock.tick();
    }

    async fn read(&self) -> Option<u64> {
        self.cache.get(&7).await.expect("a value")
    }

    async fn hit(&self) -> Hit<u64> {
        self.cache.get(&7).detailed().await.expect("a value")
    }

    async fn loaded(&self, loads: u64) {
        wait_until("the load began", || async { self.database.loads() == loads }).await;
    }

    /// Waits until the store has a value of this age at most.
    async fn stored_within(&self, age: Duration) {
        wait_until("the refreshed value is stored", || async {
            let peeked = self.cache.peek(&7).await.expect("a peek");
            peeked.is_some_and(|hit| hit.age.is_some_and(|of_value| of_value <= age))
        })
        .await;
    }
}

#[tokio::test]
async fn a_value_is_served_after_its_ttl_while_one_load_replaces_it() {
    let (fixture, mut invalidator) = Fixture::new(|builder| builder.stale_while_revalidate(WINDOW)).await;
    fixture.read().await;
    fixture.pass(TTL + Duration::from_secs(1));
    fixture.database.write(2);
    for _ in 0..5 {
        assert_eq!(fixture.hit().await.tier, Tier::Shared, "no reader waits for the refresh");
    }
    fixture.loaded(2).await;
    fixture.stored_within(Duration::from_secs(1)).await;
    assert_eq!((fixture.read().await, fixture.database.loads()), (Some(2), 2));
    // A value that is not read in the window has expired.
    fixture.pass(TTL + WINDOW + Duration::from_secs(1));
    assert_eq!(fixture.hit().await.tier, Tier::Database);
    // An invalidation ends it at any time.
    fixture.pass(TTL + Duration::from_secs(1));
    fixture.database.write(3);
    invalidator.apply(3, &key()).await;
    assert_eq!(fixture.read().await, Some(3));
}

#[tokio::test]
async fn only_the_shared_store_serves_a_value_after_its_ttl() {
    let (fixture, mut invalidator) = Fixture::new(|builder| builder.stale_while_revalidate(WINDOW)).await;
    fixture.read().await;
    let other = Fixture::builder(&fixture.store, &fixture.clock, &fixture.database)
        .local(Local::max_weight(1 << 20).ttl(Duration::from_secs(300)))
        .stale_while_revalidate(WINDOW)
        .build()
        .expect("another process");
    followed(&other, &mut invalidator).await;
    fixture.pass(TTL / 2);
    let tier = async || other.get(&7).detailed().await.expect("a value").tier;
    wait_until("it is in the process-local tier", async || tier().await == Tier::Local).await;
    fixture.pass(TTL / 2 + Duration::from_secs(1));
    assert_eq!(tier().await, Tier::Shared, "its time to live counts from its load, and the window is the store's");
}

#[tokio::test]
async fn a_refresh_that_an_invalidation_overtakes_stores_nothing() {
    let (fixture, mut invalidator) = Fixture::new(|builder| builder.stale_while_revalidate(WINDOW)).await;
    fixture.read().await;
    fixture.pass(TTL + Duration::from_secs(1));
    let held = Database::default();
    held.write(1);
    let slow = Fixture::builder(&fixture.store, &fixture.clock, &held).stale_while_revalidate(WINDOW);
    let slow = slow.build().expect("a cache");
    assert_eq!(slow.get(&7).await.expect("a value"), Some(1));
    wait_until("the refresh has read the row", || async { held.loads() == 1 }).await;
    fixture.database.write(2);
    invalidator.apply(2, &key()).await;
    held.0.returning.add_permits(1);
    wait_until("the refresh has ended", || async { slow.inner.flights.waiters_or_none(&7).is_none() }).await;
    assert_eq!(fixture.read().await, Some(2));
    assert_eq!(slow.get(&7).await.expect("a value"), Some(2), "from the store");
}

#[tokio::test]
async fn a_failed_refresh_is_not_repeated_under_its_lease() {
    let (fixture, _invalidator) = Fixture::new(|builder| builder.stale_while_revalidate(WINDOW)).await;
    fixture.read().await;
    fixture.pass(TTL + Duration::from_secs(1));
    fixture.database.0.fails.store(true, Ordering::SeqCst);
    fixture.read().await;
    fixture.loaded(2).await;
    let other = Fixture::builder(&fixture.store, &fixture.clock, &fixture.database).stale_while_revalidate(WINDOW);
    let other = other.build().expect("a cache");
    for cache in [&fixture.cache, &other] {
        wait_until("no refresh is in progress", || async { cache.inner.flights.waiters_or_none(&7).is_none() }).await;
        assert_eq!(cache.get(&7).await.expect("still served"), Some(1));
        wait_until("no refresh is in progress", || async { cache.inner.flights.waiters_or_none(&7).is_none() }).await;
    }
    assert_eq!(fixture.database.loads(), 2);
    fixture.database.0.fails.store(false, Ordering::SeqCst);
    fixture.pass(CacheSettings::default().lease + Duration::from_secs(1));
    fixture.read().await;
    fixture.loaded(3).await;
}

#[tokio::test]
async fn a_failed_refresh_keeps_no_reader_from_the_database_after_the_end() {
    let (fixture, _invalidator) = Fixture::new(|builder| builder.stale_while_revalidate(WINDOW)).await;
    fixture.read().await;
    fixture.pass(TTL + WINDOW - Duration::from_secs(1));
    fixture.database.0.fails.store(true, Ordering::SeqCst);
    assert_eq!(fixture.read().await, Some(1));
    fixture.loaded(2).await;
    wait_until("the lease is released", || async {
        let explained = fixture.cache.explain(&7).await.expect("an explanation").store;
        explained.and_then(|found| found.entry).is_some_and(|entry| entry.lease.is_none())
    })
    .await;
    fixture.database.0.fails.store(false, Ordering::SeqCst);
    fixture.pass(Duration::from_secs(2));
    let hit = tokio::time::timeout(WAIT_MAX, fixture.hit()).await.expect("nothing is waited for");
    assert_eq!(hit.tier, Tier::Database);
}

/// A loader whose values must not be stored from the second one on.
struct StoredOnce(Arc<AtomicU64>);

impl Loader<u64, u64> for StoredOnce {
    type Error = std::io::Error;

    async fn load(&self, _key: &u64, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        if self.0.fetch_add(1, Ordering::SeqCst) > 0 {
            cx.no_store();
        }
        Ok(Some(1))
    }
}

#[tokio::test]
async fn a_refresh_that_stores_nothing_is_not_repeated_under_its_lease() {
    let loads = Arc::new(AtomicU64::new(0));
    let loader = StoredOnce(Arc::clone(&loads));
    let (fixture, _invalidator) = Fixture::new(|builder| builder.stale_while_revalidate(WINDOW).loader(loader)).await;
    fixture.read().await;
    fixture.pass(TTL + Duration::from_secs(1));
    for _ in 0..5 {
        assert_eq!(fixture.hit().await.tier, Tier::Shared);
        let flights = &fixture.cache.inner.flights;
        wait_until("no refresh is in progress", || async { flights.waiters_or_none(&7).is_none() }).await;
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2);
    fixture.pass(CacheSettings::default().lease + Duration::from_secs(1));
    fixture.read().await;
    wait_until("it is refreshed again", || async { loads.load(Ordering::SeqCst) == 3 }).await;
}

#[tokio::test]
async fn a_refresh_without_a_lease_loads_nothing() {
    let (clock, rows) = (Arc::new(ManualClock::new()), Database::free());
    let memory = MemoryStore::new("t").with_clock(Arc::<ManualClock>::clone(&clock));
    let _invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let settings = CacheSettings::default().with_on_lag(crate::settings::OnLag::Serve);
    let cache = hooked(&store, &rows).settings(settings).clock(Arc::<ManualClock>::clone(&clock));
    let cache = cache.ttl(TTL).jitter(0.0).stale_while_revalidate(WINDOW).build().expect("a cache");
    cache.get(&7).await.expect("a value");
    clock.advance(TTL + Duration::from_secs(1));
    store.once(At::BeforeLease, async move { memory.suspend().await.expect("suspended") });
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
    wait_until("the refresh has ended", || async {
        cache.inner.flights.newest() == 2 && cache.inner.flights.waiters_or_none(&7).is_none()
    })
    .await;
    assert_eq!(rows.loads(), 1, "its value could not be stored");
}

/// Always draws the same number.
#[derive(Debug)]
struct Drawn(f64);

impl crate::clock::Entropy for Drawn {
    fn random_u128(&self) -> u128 {
        rand_u128()
    }

    fn random_fraction(&self) -> f64 {
        self.0
    }
}

#[tokio::test]
async fn an_early_refresh_depends_on_the_draw_and_the_loads_cost() {
    // exp(-3): a factor of 3, so a load of 1 s is refreshed 3 s before the end.
    let drawn = Drawn(1.0 - (-3.0_f64).exp());
    let (mut fixture, _invalidator) = Fixture::new(|builder| builder.early_refresh(1.0).entropy(Arc::new(drawn))).await;
    fixture.database = Database::default();
    let cache = Fixture::builder(&fixture.store, &fixture.clock, &fixture.database)
        .early_refresh(1.0)
        .entropy(Arc::new(Drawn(1.0 - (-3.0_f64).exp())))
        .build()
        .expect("a cache");
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await }
    });
    fixture.loaded(1).await;
    fixture.clock.advance(Duration::from_secs(1));
    fixture.database.0.returning.add_permits(100);
    first.await.expect("joined").expect("a value");
    // The time to live counts from the begin of the load, a second ago.
    fixture.pass(TTL - Duration::from_millis(1_000 + 3_100));
    cache.get(&7).await.expect("a value");
    assert_eq!((fixture.database.loads(), cache.inner.flights.newest()), (1, 1), "too early");
    fixture.pass(Duration::from_millis(200));
    cache.get(&7).await.expect("a value");
    fixture.loaded(2).await;
}

#[tokio::test]
async fn a_plain_read_whose_load_fails_is_served_the_last_value() {
    let stale_for = Duration::from_secs(600);
    let (fixture, mut invalidator) =
        Fixture::new(|builder| builder.stale_if_error(stale_for).local(Local::max_weight(1 << 20))).await;
    fixture.read().await;
    fixture.database.0.fails.store(true, Ordering::SeqCst);
    invalidator.apply(2, &key()).await;
    handled(&fixture.cache, 2).await;
    let hit = fixture.hit().await;
    assert_eq!((hit.value, hit.stale, hit.staleness_bound, hit.position), (Some(1), true, None, None));
    assert_eq!(fixture.cache.get_many([7]).await.expect("a value"), [Some(1)]);
    let loads = fixture.database.loads();
    assert_eq!((fixture.read().await, fixture.database.loads()), (Some(1), loads), "not loaded again at once");
    fixture.pass(Duration::from_secs(2));
    assert_eq!((fixture.read().await, fixture.database.loads()), (Some(1), loads + 1));

    let error = fixture.cache.get(&7).max_staleness(Duration::from_secs(9)).await.expect_err("a bounded read");
    assert_eq!(error.kind(), ErrorKind::Load);
    let token: Position = "db:1-2".parse().expect("a position");
    assert!(fixture.cache.get(&7).at_least(&token).await.is_err(), "a session read");
    assert!(fixture.cache.get(&8).await.is_err(), "no value of this key is known");
    fixture.pass(stale_for);
    assert!(fixture.cache.get(&7).await.is_err(), "too old");

    fixture.database.0.fails.store(false, Ordering::SeqCst);
    fixture.database.write(2);
    fixture.pass(Duration::from_secs(2));
    let hit = fixture.hit().await;
    assert_eq!((hit.value, hit.stale), (Some(2), false));
}

#[tokio::test]
async fn many_keys_are_not_loaded_again_within_the_throttle() {
    let (fixture, mut invalidator) =
        Fixture::new(|builder| builder.stale_if_error(10 * TTL).local(Local::max_weight(1 << 20))).await;
    fixture.read().await;
    fixture.database.0.fails.store(true, Ordering::SeqCst);
    invalidator.apply(2, &key()).await;
    handled(&fixture.cache, 2).await;
    for loads in 2..5 {
        for _ in 0..10 {
            assert_eq!(fixture.cache.get_many([7]).await.expect("a value"), [Some(1)]);
            wait_until("no load runs", || async { fixture.cache.inner.flights.waiters_or_none(&7).is_none() }).await;
            assert_eq!(fixture.database.loads(), loads, "one in the time of the throttle");
        }
        fixture.pass(Duration::from_secs(2));
    }
    // A clock that is set back by more does not keep a key from the database.
    let failures = fixture.cache.inner.failures.as_ref().expect("stale values are served");
    failures.insert(7, fixture.clock.now().after(TTL));
    assert_eq!(fixture.cache.get_many([7]).await.expect("a value"), [Some(1)]);
    assert_eq!(fixture.database.loads(), 5);
    let report = fixture.cache.warm_up([7]).await.expect("a report");
    assert_eq!((report.present, report.failed), (0, 1), "a stale value is none that was cached");
}

/// Its row has grown.
#[tokio::test]
async fn a_refresh_of_a_value_that_is_too_large_is_not_repeated() {
    let (fixture, _invalidator) = Fixture::new(|builder| builder.stale_while_revalidate(WINDOW)).await;
    fixture.read().await;
    let capped = CacheSettings::default().with_on_lag(crate::settings::OnLag::Serve).with_value_bytes_max(2);
    let cache = Fixture::builder(&fixture.store, &fixture.clock, &fixture.database)
        .settings(capped)
        .stale_while_revalidate(WINDOW)
        .build()
        .expect("a cache");
    fixture.database.write(1_000);
    fixture.pass(TTL + Duration::from_secs(1));
    for _ in 0..5 {
        assert_eq!(cache.get(&7).await.expect("still served"), Some(1));
        wait_until("no refresh is in progress", || async { cache.inner.flights.waiters_or_none(&7).is_none() }).await;
    }
    assert_eq!(fixture.database.loads(), 2, "its lease keeps others from the database");
}

#[tokio::test]
async fn a_slow_load_is_not_waited_for_if_a_stale_value_is_known() {
    let held = Database::default();
    held.0.returning.add_permits(1);
    let (fixture, mut invalidator) = Fixture::new(|builder| {
        let builder = builder.stale_if_error(Duration::from_secs(600)).local(Local::max_weight(1 << 20));
        builder.load_soft_timeout(Duration::from_millis(50)).loader(held.clone())
    })
    .await;
    fixture.read().await;
    held.write(2);
    invalidator.apply(2, &key()).await;
    handled(&fixture.cache, 2).await;
    let read = tokio::spawn({
        let cache = fixture.cache.clone();
        async move { cache.get(&7).detailed().await }
    });
    wait_until("the load began", || async { held.loads() == 2 }).await;
    fixture.pass(Duration::from_millis(60));
    let hit = read.await.expect("joined").expect("a value");
    assert_eq!((hit.value, hit.stale), (Some(1), true));
    held.0.returning.add_permits(1);
    wait_until("the load has ended in the store", || async {
        fixture.cache.peek(&7).await.expect("a peek").is_some_and(|hit| hit.value == Some(2))
    })
    .await;
}
