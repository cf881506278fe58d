//! Many keys of one moment.

use std::collections::HashMap;
use std::sync::Mutex;

use super::hooks::{At, Hooked};
use super::*;
use crate::cache::Hit;

/// Rows that one transaction changes together: all have the value of the last commit.
#[derive(Clone)]
struct Rows {
    database: Database,
    /// What `executed` returns: by default the last commit.
    reports: bool,
    batches: Arc<AtomicU64>,
    /// Another process, which reads key 1 after a commit that follows the first `executed`.
    other: Arc<Mutex<Option<Process>>>,
}

type Process = (Arc<MemoryStore>, Cache<u64, u64>);

impl Rows {
    fn new(reports: bool) -> Self {
        Self { database: Database::free(), reports, batches: Arc::default(), other: Arc::default() }
    }

    /// Commit 2 changes both rows. Key 1 is evicted and loaded again before the invalidator gets to it.
    async fn commit_and_reload(&self, store: &MemoryStore, cache: &Cache<u64, u64>) {
        self.database.write(2);
        store.discard(&[StoreKey::encode("row", &1_u64).expect("a key")]).await.expect("evicted");
        cache.get(&1).await.expect("a value");
    }
}

impl Loader<u64, u64> for Rows {
    type Error = std::io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        Loader::load(&self.database, key, cx).await
    }

    async fn load_many(&self, keys: &[u64], cx: &LoadCx) -> Result<HashMap<u64, u64>, std::io::Error> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        let value = self.load(&0, cx).await?.expect("a row");
        Ok(keys.iter().map(|key| (*key, value)).collect())
    }

    async fn executed(&self) -> Result<Option<Position>, std::io::Error> {
        let mut executed = Position::new();
        executed.insert_range(&Arc::from("db"), 1, self.database.0.row.load(Ordering::SeqCst));
        let other = self.other.lock().expect("not poisoned").take();
        if let Some((store, cache)) = other {
            self.commit_and_reload(&store, &cache).await;
        }
        Ok(self.reports.then_some(executed))
    }
}

fn cache_of(store: &Arc<MemoryStore>, rows: &Rows) -> Cache<u64, u64> {
    builder(store, &rows.database).loader(rows.clone()).build().expect("a cache")
}

fn values(hits: &[Hit<u64>]) -> Vec<Option<u64>> {
    hits.iter().map(|hit| hit.value).collect()
}

#[tokio::test]
async fn half_of_a_transaction_is_never_returned() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    cache.get_many([1, 2]).await.expect("values");
    rows.commit_and_reload(&store, &cache).await;
    assert_eq!(cache.get_many([1, 2]).await.expect("values"), [Some(2), Some(1)], "plain values are of two moments");
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_many([1, 2, 1]).consistent().detailed().await }
    });
    tokio::task::yield_now().await;
    let key = StoreKey::encode("row", &2_u64).expect("a key");
    invalidator.apply(2, &key).await;
    assert_eq!(values(&read.await.expect("joined").expect("values")), [Some(2); 3]);
}

#[tokio::test]
async fn a_value_that_changes_after_the_position_is_not_combined_with_an_older() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    cache.get_many([1, 2]).await.expect("values");
    *rows.other.lock().expect("not poisoned") = Some((Arc::clone(&store), cache_of(&store, &rows)));
    let read = cache.get_many([1, 2]).consistent().detailed().await.expect("values");
    assert_eq!(
        values(&read),
        [Some(2); 2],
        "what was executed before commit 2 is applied, and proves nothing of key 1"
    );
}

#[tokio::test]
async fn cached_values_are_returned_if_they_stay_until_all_is_applied() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    let loaded = cache.get_many([1, 2]).consistent().detailed().await.expect("values");
    assert!(loaded.iter().all(|hit| hit.tier == Tier::Database));
    let batches = rows.batches.load(Ordering::SeqCst);
    let cached = cache.get_many([1, 2]).consistent().detailed().await.expect("values");
    assert!(cached.iter().all(|hit| hit.tier == Tier::Shared), "what was loaded is stored");
    assert_eq!((batches, rows.batches.load(Ordering::SeqCst)), (1, 1));
    let token: Position = "db:1".parse().expect("a position");
    assert_eq!(cache.get_many([2, 1]).consistent().at_least(&token).await.expect("values"), [Some(1); 2]);
    // A commit that is not applied: after `proof_wait` the database is asked.
    rows.database.write(2);
    assert_eq!(cache.get_many([1, 2]).consistent().await.expect("values"), [Some(2); 2]);
}

#[tokio::test]
async fn what_is_known_of_a_loaded_value_counts_to_the_return_of_all() {
    let (memory, rows, clock) = (MemoryStore::new("t"), Rows::new(true), Arc::new(ManualClock::new()));
    let memory = memory.with_clock(Arc::<ManualClock>::clone(&clock));
    let _invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let cache: Cache<u64, u64> = Cache::builder("row")
        .clock(Arc::<ManualClock>::clone(&clock))
        .shared(Arc::clone(&store))
        .loader(rows)
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    // Storing the second value takes long.
    let long = Duration::from_secs(2);
    store.once(At::AfterFill, {
        let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
        async move { store.once(At::AfterFill, async move { clock.advance(long) }) }
    });
    let hits = cache.get_many([1, 2]).consistent().detailed().await.expect("values");
    assert!(hits.iter().all(|hit| hit.staleness_bound.is_some_and(|bound| bound >= long)), "{hits:?}");
    assert!(hits.iter().all(|hit| hit.age.is_some_and(|age| age >= long)), "{hits:?}");
}

#[tokio::test]
async fn a_loader_that_does_not_say_what_is_executed_is_read_once_for_all_keys() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(false));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    for batches in 1..=2 {
        let hits = cache.get_many([1, 2, 3]).consistent().detailed().await.expect("values");
        assert!(hits.iter().all(|hit| hit.tier == Tier::Database));
        assert_eq!(rows.batches.load(Ordering::SeqCst), batches);
    }
    assert_eq!(cache.get(&3).detailed().await.expect("a hit").tier, Tier::Shared);
}
