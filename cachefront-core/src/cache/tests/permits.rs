//! Permits to load, leases that begin with them, and the bound of the local tier without a store.

use super::*;
use crate::testing::{FaultyStore, TokioClock};

/// A slow loader.
#[derive(Clone)]
struct Slow {
    takes: Duration,
    loads: Arc<AtomicU64>,
}

impl Slow {
    fn new(takes: Duration) -> Self {
        Self { takes, loads: Arc::default() }
    }
}

impl Loader<u64, u64> for Slow {
    type Error = std::io::Error;

    async fn load(&self, key: &u64, _cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await; // sleep: the load takes this long
        Ok(Some(*key))
    }
}

fn paused_store(clock: &Arc<TokioClock>) -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(clock)))
}

fn slow(
    store: impl crate::cache::IntoStore,
    clock: &Arc<TokioClock>,
    loader: &Slow,
    settings: CacheSettings,
) -> Cache<u64, u64> {
    Cache::builder("row")
        .shared(store)
        .clock(Arc::<TokioClock>::clone(clock))
        .loader(loader.clone())
        .settings(settings)
        .build()
        .expect("a cache")
}

/// The queue for the database is longer than a lease: leases that began in the queue would expire in it.
#[tokio::test(start_paused = true)]
async fn a_queue_longer_than_a_lease_still_fills_the_cache() {
    let clock = Arc::new(TokioClock::new());
    let (store, loader) = (paused_store(&clock), Slow::new(Duration::from_secs(1)));
    let cache = slow(store, &clock, &loader, CacheSettings { loads_max: 1, ..CacheSettings::default() });
    let reads: Vec<_> = (0..10_u64)
        .map(|key| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get(&key).await })
        })
        .collect();
    for read in reads {
        read.await.expect("joined").expect("a value");
    }
    assert_eq!(loader.loads.load(Ordering::SeqCst), 10);
    for key in 0..10_u64 {
        assert_eq!(cache.get(&key).detailed().await.expect("a value").tier, Tier::Shared, "key {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_permit_counts_towards_the_load_timeout() {
    let clock = Arc::new(TokioClock::new());
    let (store, loader) = (paused_store(&clock), Slow::new(Duration::from_secs(60)));
    let timeout = Duration::from_secs(2);
    let settings = CacheSettings { loads_max: 1, load_timeout: timeout, ..CacheSettings::default() };
    let cache = slow(store, &clock, &loader, settings);
    let began = tokio::time::Instant::now();
    let (first, second) = tokio::join!(cache.get(&1).into_future(), cache.get(&2).into_future());
    for outcome in [first, second] {
        assert_eq!(outcome.expect_err("too slow").kind(), ErrorKind::Timeout);
    }
    assert!(began.elapsed() <= timeout + Duration::from_millis(10), "{:?}", began.elapsed());
    let many = cache.get_many([3_u64, 4]);
    let (_one, many) = tokio::join!(cache.get(&5).into_future(), many);
    assert_eq!(many.expect_err("too slow").kind(), ErrorKind::Timeout);
}

/// Two processes take the leases of two keys crosswise: each holds one and needs the other.
#[tokio::test(start_paused = true)]
async fn two_processes_do_not_wait_for_each_others_leases() {
    let clock = Arc::new(TokioClock::new());
    let store = paused_store(&clock);
    let loader = Slow::new(Duration::from_millis(10));
    let [one, other] =
        [0, 1].map(|_| slow(Arc::new(FaultyStore::new((*store).clone())), &clock, &loader, CacheSettings::default()));
    // Both ask for their leases at once, in opposite orders, one key after the other.
    let began = tokio::time::Instant::now();
    let (of_one, of_other) = tokio::join!(one.get_many([1_u64, 2, 3, 4]), other.get_many([4_u64, 3, 2, 1]));
    assert_eq!(of_one.expect("values"), [1, 2, 3, 4].map(Some));
    assert_eq!(of_other.expect("values"), [4, 3, 2, 1].map(Some));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_process_loads_does_not_hold_up_the_others() {
    let clock = Arc::new(TokioClock::new());
    let store = paused_store(&clock);
    let (quick, patient) = (Slow::new(Duration::from_millis(1)), Slow::new(Duration::from_secs(2)));
    let one = slow(Arc::new(FaultyStore::new((*store).clone())), &clock, &quick, CacheSettings::default());
    let other = slow(Arc::new(FaultyStore::new((*store).clone())), &clock, &patient, CacheSettings::default());
    let held = tokio::spawn({
        let other = other.clone();
        async move { other.get(&1).await }
    });
    wait_until("the other process loads", || async { patient.loads.load(Ordering::SeqCst) == 1 }).await;
    let page = tokio::spawn({
        let one = one.clone();
        async move { one.get_many([1_u64, 2]).await }
    });
    wait_until("the free key is loaded", || async { quick.loads.load(Ordering::SeqCst) == 1 }).await;
    assert_eq!(
        one.get(&2).detailed().await.expect("a value").tier,
        Tier::Shared,
        "and stored while the other one waits"
    );
    assert_eq!(page.await.expect("joined").expect("values"), [Some(1), Some(2)]);
    held.await.expect("joined").expect("a value");
    assert_eq!(quick.loads.load(Ordering::SeqCst), 1, "the held key was not loaded twice");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_for_another_process_holds_no_permit() {
    let clock = Arc::new(TokioClock::new());
    let store = paused_store(&clock);
    let (quick, patient) = (Slow::new(Duration::from_millis(1)), Slow::new(Duration::from_secs(2)));
    let second = Duration::from_secs(1);
    let one_permit =
        CacheSettings { loads_max: 1, lease_poll_min: second, lease_poll_max: second, ..CacheSettings::default() };
    let one = slow(Arc::new(FaultyStore::new((*store).clone())), &clock, &quick, one_permit);
    let other = slow(Arc::new(FaultyStore::new((*store).clone())), &clock, &patient, CacheSettings::default());
    let held = tokio::spawn(async move { other.get(&1).await });
    wait_until("the other process loads", || async { patient.loads.load(Ordering::SeqCst) == 1 }).await;
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { one.get(&1).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await; // sleep: on the paused clock, it takes no time
    let began = tokio::time::Instant::now();
    assert_eq!(one.get(&2).await.expect("a value"), Some(2));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    waiting.await.expect("joined").expect("a value");
    held.await.expect("joined").expect("a value");
}

#[tokio::test(start_paused = true)]
async fn the_local_tier_keeps_its_byte_bound_while_the_store_is_down() {
    let store = FaultyStore::new(MemoryStore::new("t"));
    store.set_down(true);
    let cache: Cache<u64, String> = Cache::builder("text")
        .shared(store)
        .local(Local::max_weight(20_000))
        .loader(crate::loader::loader_fn(|_: u64| async { Ok::<_, std::io::Error>(Some("x".repeat(1_000))) }))
        .build()
        .expect("a cache in TTL mode");
    for key in 0..100 {
        cache.get(&key).await.expect("a value");
    }
    let kept = (0..100).filter(|key| cache.inner.local_get(key).is_some()).count();
    assert!((1..=20).contains(&kept), "{kept} values of 1,000 bytes in 20,000 bytes");
}
