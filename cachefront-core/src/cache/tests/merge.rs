//! Loads of different keys that are merged, and readers that wait for another process's load.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;

use super::*;
use crate::cache::flight::Joined;
use crate::cache::merge::PendingLoad;
use crate::cache::plan::{LoadPlan, Purpose};
use crate::testing::{FaultyStore, TokioClock};

const LINGER: Duration = Duration::from_millis(5);

/// A table whose batch loads are noted.
#[derive(Clone)]
struct Table(Arc<Rows>);

struct Rows {
    value: AtomicU64,
    batches: Mutex<Vec<Vec<u64>>>,
    returning: Semaphore,
}

impl Table {
    fn new(permits: usize) -> Self {
        let (value, batches) = (AtomicU64::new(1), Mutex::default());
        Self(Arc::new(Rows { value, batches, returning: Semaphore::new(permits) }))
    }

    fn batches(&self) -> Vec<Vec<u64>> {
        let mut batches = self.0.batches.lock().expect("unpoisoned").clone();
        batches.iter_mut().for_each(|batch| batch.sort_unstable());
        batches
    }
}

impl Loader<u64, u64> for Table {
    type Error = io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> io::Result<Option<u64>> {
        Ok(self.load_many(&[*key], cx).await?.remove(key))
    }

    async fn load_many(&self, keys: &[u64], _cx: &LoadCx) -> io::Result<HashMap<u64, u64>> {
        self.0.batches.lock().expect("unpoisoned").push(keys.to_vec());
        let value = self.0.value.load(Ordering::SeqCst);
        self.0.returning.acquire().await.expect("open").forget();
        Ok(keys.iter().map(|key| (*key, value)).collect())
    }
}

fn cache(store: &MemoryStore, clock: &Arc<TokioClock>, table: &Table, settings: CacheSettings) -> Cache<u64, u64> {
    Cache::builder("row")
        .settings(settings.with_on_lag(crate::settings::OnLag::Serve))
        .clock(Arc::<TokioClock>::clone(clock))
        // A store of its own to look at, as each process has.
        .shared(FaultyStore::new(store.clone()))
        .loader(table.clone())
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache")
}

async fn store() -> (MemoryStore, Arc<TokioClock>, ManualInvalidator) {
    let clock = Arc::new(TokioClock::new());
    let store = MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(&clock));
    let invalidator = ManualInvalidator::begin(&store).await;
    (store, clock, invalidator)
}

fn read(cache: &Cache<u64, u64>, key: u64) -> tokio::task::JoinHandle<crate::error::Result<Option<u64>>> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.get(&key).await })
}

#[tokio::test(start_paused = true)]
async fn loads_of_several_callers_are_one_batch() {
    let (store, clock, _invalidator) = store().await;
    let table = Table::new(100);
    let cache = cache(&store, &clock, &table, CacheSettings::default().with_load_linger(LINGER));
    let began = tokio::time::Instant::now();
    let reads: Vec<_> = [1, 2, 3, 2].map(|key| read(&cache, key)).into();
    let many = cache.get_many([3, 4]).await;
    assert_eq!(many.expect("values"), [Some(1), Some(1)]);
    for read in reads {
        assert_eq!(read.await.expect("joined").expect("a value"), Some(1));
    }
    assert_eq!(table.batches(), [vec![1, 2, 3, 4]]);
    assert!(began.elapsed() < 2 * LINGER, "{:?}", began.elapsed());
    for key in 1..5 {
        assert_eq!(cache.get(&key).detailed().await.expect("a value").tier, Tier::Shared);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_load_was_detached_is_loaded_for_both_readers() {
    // Without an invalidator no lease is granted, so that both loads go on.
    let clock = Arc::new(TokioClock::new());
    let store = MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(&clock));
    let table = Table::new(100);
    let cache = cache(&store, &clock, &table, CacheSettings::default().with_load_linger(LINGER));
    let first = read(&cache, 7);
    let other = read(&cache, 8);
    tokio::task::yield_now().await;
    wait_until("both wait", || async { cache.inner.flights.newest() == 2 }).await;
    cache.invalidate(&7).await.expect("it is invalidated");
    let second = read(&cache, 7);
    for read in [first, other, second] {
        assert_eq!(read.await.expect("joined").expect("a value"), Some(1), "{:?}", table.batches());
    }
    assert!(
        table.batches().iter().all(|batch| batch.windows(2).all(|pair| pair[0] != pair[1])),
        "{:?}",
        table.batches()
    );
}

#[tokio::test(start_paused = true)]
async fn loads_are_not_merged_unless_it_is_asked_for() {
    let (store, clock, _invalidator) = store().await;
    let table = Table::new(100);
    let cache = cache(&store, &clock, &table, CacheSettings::default());
    let reads: Vec<_> = [1, 2].map(|key| read(&cache, key)).into();
    for read in reads {
        read.await.expect("joined").expect("a value");
    }
    assert_eq!(table.batches().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let (store, clock, _invalidator) = store().await;
    let table = Table::new(100);
    let settings = CacheSettings::default().with_load_linger(60 * Duration::from_secs(1)).with_load_batch_max(3);
    let cache = cache(&store, &clock, &table, settings);
    let began = tokio::time::Instant::now();
    let reads: Vec<_> = (1..=6).map(|key| read(&cache, key)).collect();
    for read in reads {
        assert_eq!(read.await.expect("joined").expect("a value"), Some(1));
    }
    assert_eq!((table.batches().len(), began.elapsed()), (2, Duration::ZERO));
    assert!(table.batches().iter().all(|batch| batch.len() == 3), "{:?}", table.batches());
}

/// The keys are invalidated while they wait, and while the batch is loaded.
#[tokio::test(start_paused = true)]
async fn a_merged_load_that_an_invalidation_overtook_stores_nothing() {
    let (store, clock, mut invalidator) = store().await;
    let table = Table::new(0);
    let cache = cache(&store, &clock, &table, CacheSettings::default().with_load_linger(LINGER));
    let old = [read(&cache, 7), read(&cache, 8)];
    wait_until("the batch is being loaded", || async { table.batches() == [vec![7, 8]] }).await;
    table.0.value.store(2, Ordering::SeqCst);
    invalidator.apply(2, &key()).await;
    table.0.returning.add_permits(10);
    for read in old {
        assert_eq!(read.await.expect("joined").expect("a value"), Some(1), "it began before the change");
    }
    assert!(cache.peek(&7).await.expect("a peek").is_none(), "its lease was revoked");
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2));
}

/// Another process loads. Its waiters ask once, and are woken by the fill.
#[tokio::test(start_paused = true)]
async fn waiters_of_another_process_are_woken_when_its_load_ends() {
    let (store, clock, _invalidator) = store().await;
    let table = Table::new(0);
    let hour = Duration::from_secs(3600);
    let patient = CacheSettings::default()
        .with_lease(hour)
        .with_lease_wait(hour)
        .with_lease_push_max(hour)
        .with_lease_poll_min(hour)
        .with_lease_poll_max(hour);
    let [one, other] = [0, 1].map(|_| cache(&store, &clock, &table, patient));
    let first = read(&one, 7);
    wait_until("it loads", || async { table.batches().len() == 1 }).await;
    let began = tokio::time::Instant::now();
    let waiting: Vec<_> = (0..100).map(|_| read(&other, 7)).collect();
    wait_until("they wait", || async { other.inner.flights.waiters_or_none(&7) == Some(100) }).await;
    table.0.returning.add_permits(1);
    first.await.expect("joined").expect("a value");
    for waiter in waiting {
        assert_eq!(waiter.await.expect("joined").expect("a value"), Some(1));
    }
    assert_eq!(table.batches().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// The load that others wait for is overtaken by an invalidation: they are woken, and load for themselves.
#[tokio::test(start_paused = true)]
async fn waiters_of_another_process_are_woken_when_its_lease_is_revoked() {
    let (store, clock, mut invalidator) = store().await;
    let (stuck, table) = (Table::new(0), Table::new(10));
    let hour = Duration::from_secs(3600);
    let patient = CacheSettings::default().with_lease(hour).with_lease_wait(hour).with_lease_push_max(hour);
    let patient = patient.with_lease_poll_min(hour).with_lease_poll_max(hour);
    let (one, other) = (cache(&store, &clock, &stuck, patient), cache(&store, &clock, &table, patient));
    let _first = read(&one, 7);
    wait_until("it loads", || async { stuck.batches().len() == 1 }).await;
    let waiter = read(&other, 7);
    wait_until("it waits", || async { other.inner.flights.waiters_or_none(&7) == Some(1) }).await;
    let began = tokio::time::Instant::now();
    table.0.value.store(2, Ordering::SeqCst);
    invalidator.apply(2, &key()).await;
    assert_eq!(waiter.await.expect("joined").expect("a value"), Some(2));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// A store that does not tell: the reader asks again after pauses.
#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_tell_is_asked_again() {
    let (store, clock, _invalidator) = store().await;
    let table = Table::new(0);
    let build = |shared: Arc<dyn Store>| {
        Cache::<u64, u64>::builder("row")
            .settings(CacheSettings::default().with_lease_push_max(Duration::from_secs(3600)))
            .clock(Arc::<TokioClock>::clone(&clock))
            .shared(shared)
            .loader(table.clone())
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache")
    };
    let (one, other) = (build(Arc::new(store.clone())), build(super::hooks::Hooked::new(&store)));
    let first = read(&one, 7);
    wait_until("it loads", || async { table.batches().len() == 1 }).await;
    let waiter = read(&other, 7);
    wait_until("it waits", || async { other.inner.flights.waiters_or_none(&7) == Some(1) }).await;
    let began = tokio::time::Instant::now();
    table.0.returning.add_permits(1);
    first.await.expect("joined").expect("a value");
    assert_eq!(waiter.await.expect("joined").expect("a value"), Some(1));
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!(table.batches().len(), 1);
}

/// Several calls add loads at once, and more wait than one batch takes: the one timer begins them all.
#[tokio::test(start_paused = true)]
async fn a_timer_leaves_no_load_behind() {
    let (store, clock, _invalidator) = store().await;
    let table = Table::new(100);
    let settings = CacheSettings::default().with_load_linger(LINGER).with_load_batch_max(2);
    let cache = cache(&store, &clock, &table, settings);
    let first = read(&cache, 1);
    wait_until("it waits", || async { cache.inner.flights.newest() == 1 }).await;
    // What another call has added, and has not begun yet.
    let (mut added, mut flights) = (Vec::new(), Vec::new());
    for key in 2..7_u64 {
        let store_key = StoreKey::encode("row", &key).expect("a key");
        let epochs = &cache.inner.subscription.epochs;
        let Joined::Leader(leader) = cache.inner.flights.join(&key, Purpose::Miss, epochs.ticket(&store_key), epochs)
        else {
            panic!("the key is being loaded already");
        };
        flights.push(leader.flight());
        added.push(PendingLoad {
            leader,
            plan: LoadPlan { store_key, ticket: None, purpose: Purpose::Miss, served_until: Timestamp::UNKNOWN },
        });
    }
    assert!(!cache.inner.merger.add(added), "the first read has started the timer");
    assert_eq!(first.await.expect("joined").expect("a value"), Some(1));
    for flight in flights {
        assert_eq!(flight.wait().await.expect("a value").value, Some(1));
    }
    assert_eq!(table.batches(), [vec![1, 2], vec![3, 4], vec![5, 6]], "the oldest first");
}
