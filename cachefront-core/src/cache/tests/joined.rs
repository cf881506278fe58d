//! Readers that wait for a load in progress without a read of the store.

use futures_util::FutureExt;

use super::hooks::{At, Hooked, hooked};
use super::*;

/// A reader of key 7 in a task of its own.
fn reader(cache: &Cache<u64, u64>) -> tokio::task::JoinHandle<Option<u64>> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.get(&7).await.expect("a value") })
}

#[tokio::test]
async fn a_reader_that_finds_a_load_in_progress_does_not_ask_the_store() {
    let (memory, database) = (Arc::new(MemoryStore::new("t")), Database::default());
    let _invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let cache = hooked(&store, &database).build().expect("a cache");
    let first = reader(&cache);
    database.0.reading.notified().await;
    let asked = Arc::new(AtomicU64::new(0));
    store.once(At::BeforeGet, {
        let asked = Arc::clone(&asked);
        async move {
            asked.fetch_add(1, Ordering::SeqCst);
        }
    });
    wait_until("the load has its lease", || async { cache.inner.flight_after_miss(&7).is_some() }).await;
    let second = reader(&cache);
    wait_until("the second reader has joined", || async { cache.inner.flights.waiters(&7) == 2 }).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    database.0.returning.add_permits(1);
    assert_eq!((first.await.expect("joined"), second.await.expect("joined")), (Some(1), Some(1)));
    assert_eq!((database.loads(), asked.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_plain_reader_does_not_wait_for_the_load_of_a_strict_one() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::default());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).build().expect("a cache");
    database.0.returning.add_permits(1);
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    database.0.reading.notified().await;
    let strict = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).max_staleness(Duration::ZERO).await }
    });
    database.0.reading.notified().await;
    assert!(cache.inner.flights.is_loading(&7, &cache.inner.subscription.epochs));
    let plain = cache.get(&7).into_future().now_or_never().expect("ready: the store has a value");
    assert_eq!(plain.expect("a value"), Some(1));
    database.0.returning.add_permits(8);
    // The bound cannot be kept, or the load has proven it: either way the reader does not hang.
    let _ = strict.await.expect("joined");
}

#[tokio::test]
async fn a_load_that_outlives_its_lease_hides_no_value() {
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(MemoryStore::new("t").with_clock(Arc::<ManualClock>::clone(&clock)));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let (hung, working) = (Database::default(), Database::free());
    let [cache, other] = [&hung, &working].map(|database| {
        let settings = CacheSettings::default().with_on_lag(crate::settings::OnLag::Serve);
        let clock = Arc::<ManualClock>::clone(&clock);
        builder(&store, database).settings(settings).clock(clock).build().expect("a cache")
    });
    let first = reader(&cache);
    wait_until("the load has its lease", || async { cache.inner.flight_after_miss(&7).is_some() }).await;
    clock.advance(CacheSettings::default().lease + Duration::from_millis(1));
    assert_eq!(other.get(&7).await.expect("a value"), Some(1), "another process loads and fills the key");
    let second = cache.get(&7).into_future().now_or_never().expect("ready: the store has a value");
    assert_eq!(second.expect("a value"), Some(1));
    hung.0.returning.add_permits(8);
    assert_eq!(first.await.expect("joined"), Some(1));
}

/// Nothing drives the load's task, nor its timer.
#[test]
fn a_load_whose_runtime_is_not_driven_is_waited_for_within_a_bound() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (first, second, database) = (runtime(), runtime(), Database::default());
    let cache = first.block_on(async {
        let short = Duration::from_millis(100);
        let settings =
            CacheSettings::default().with_load_timeout(short).with_lease_wait(short).with_lease_push_max(short);
        let cache = Cache::builder("row").settings(settings).loader(database.clone()).build().expect("a cache");
        let reader = reader(&cache);
        database.0.reading.notified().await;
        reader.abort();
        cache
    });
    let error = second.block_on(async { cache.get(&7).await }).expect_err("the load does not end");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    database.0.returning.add_permits(8);
    assert_eq!(second.block_on(async { cache.get(&7).await }).expect("another load"), Some(1));
}

/// The timer of loads that linger is in the runtime of the first of them.
#[test]
fn a_load_that_lingers_in_a_runtime_at_rest_delays_no_other() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (first, second, database) = (runtime(), runtime(), Database::free());
    let cache = first.block_on(async {
        let settings = CacheSettings::default().with_load_linger(Duration::from_millis(50));
        let cache = Cache::builder("row").settings(settings).loader(database).build().expect("a cache");
        let reader = reader(&cache);
        wait_until("it waits", || async { cache.inner.flights.newest() == 1 }).await;
        reader.abort();
        cache
    });
    let read = async { tokio::time::timeout(WAIT_MAX, cache.get(&8)).await };
    assert_eq!(second.block_on(read).expect("in time").expect("a value"), Some(1));
}
