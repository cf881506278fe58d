//! Many keys of one moment.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Mutex;

use super::hooks::{At, Hooked, hooked};
use super::*;
use crate::cache::Hit;
use crate::settings::OnLag;

/// Rows that one transaction changes together: all have the value of the last commit.
#[derive(Clone)]
struct Rows {
    database: Database,
    /// What `executed` returns: by default the last commit.
    reports: bool,
    batches: Arc<AtomicU64>,
    /// What happens right after the first `executed` was read.
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
    /// The last commit that the primary shows, if loads are from a replica that shows more.
    primary: Option<u64>,
    /// What `executed` is given by the server that it asks, if that is another one.
    asked: Option<(&'static str, &'static str)>,
}

type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Rows {
    fn new(reports: bool) -> Self {
        Self {
            database: Database::free(),
            reports,
            batches: Arc::default(),
            meanwhile: Arc::default(),
            primary: None,
            asked: None,
        }
    }

    fn meanwhile(&self, act: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().expect("not poisoned") = Some(Box::pin(act));
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
        if self.primary.is_some() {
            cx.replica();
        }
        Loader::load(&self.database, key, cx).await
    }

    async fn load_many(&self, keys: &[u64], cx: &LoadCx) -> Result<HashMap<u64, u64>, std::io::Error> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        let value = self.load(&0, cx).await?.expect("a row");
        Ok(keys.iter().map(|key| (*key, value)).collect())
    }

    async fn executed(&self, cx: &LoadCx) -> Result<Option<Position>, std::io::Error> {
        if let Some((server, executed)) = self.asked {
            cx.origin(server);
            return Ok(Some(executed.parse().expect("a position")));
        }
        let mut executed = Position::new();
        let last = self.primary.unwrap_or_else(|| self.database.0.row.load(Ordering::SeqCst));
        executed.insert_range(&Arc::from("db"), 1, last);
        let meanwhile = self.meanwhile.lock().expect("not poisoned").take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
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
async fn a_changed_value_is_not_combined_with_an_older_one() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    cache.get_many([1, 2]).await.expect("values");
    // Another process reads key 1 after a commit that `executed` does not contain.
    rows.meanwhile({
        let (rows, store, other) = (rows.clone(), Arc::clone(&store), cache_of(&store, &rows));
        async move { rows.commit_and_reload(&store, &other).await }
    });
    let read = cache.get_many([1, 2]).consistent().detailed().await.expect("values");
    assert_eq!(
        values(&read),
        [Some(2); 2],
        "what was executed before commit 2 is applied, and proves nothing of key 1"
    );
}

/// After a flush, `applied` says nothing about entries of the former generation.
#[tokio::test]
async fn a_change_of_the_mode_does_not_combine_values_of_several_moments() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    cache.get_many([1, 2]).await.expect("values");
    rows.commit_and_reload(&store, &cache).await;
    rows.meanwhile({
        let (store, cache) = (Arc::clone(&store), cache.clone());
        async move {
            let mut next = ManualInvalidator::begin(&store).await;
            next.position.insert_range(&Arc::from("db"), 1, 2);
            next.commit().await;
            cache.set_mode(InvalidationMode::Ttl);
        }
    });
    assert_eq!(cache.get_many([1, 2]).consistent().await.expect("values"), [Some(2); 2]);
}

/// The mode becomes TTL between the first reading and its evaluation: what is then served was not kept correct by the log.
#[tokio::test]
async fn values_that_are_kept_correct_by_time_are_of_no_moment() {
    let (memory, rows) = (MemoryStore::new("t"), Rows::new(true));
    let mut invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let cache = hooked(&store, &rows.database).loader(rows.clone()).build().expect("a cache");
    cache.set_mode(InvalidationMode::Ttl);
    cache.get_many([1, 2]).await.expect("values");
    rows.commit_and_reload(&memory, &cache).await;
    invalidator.position.insert_range(&Arc::from("db"), 1, 2);
    invalidator.commit().await;
    cache.set_mode(InvalidationMode::Cdc);
    store.once(At::AfterGetMany, {
        let cache = cache.clone();
        async move { cache.set_mode(InvalidationMode::Ttl) }
    });
    assert_eq!(cache.get_many([1, 2]).consistent().await.expect("values"), [Some(2); 2]);
}

/// The primary notifies its replicas of a commit before its own readers see it.
#[tokio::test]
async fn a_value_of_a_replica_may_contain_more_than_the_primary_shows() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows { primary: Some(1), ..Rows::new(true) });
    let mapping = MappingId::new("row", &table_filter(), &["replica".into()], 0);
    let _invalidator = ManualInvalidator::covering(&store, mapping).await;
    let replicated = builder(&store, &rows.database).loader(rows.clone()).loads_from("replica");
    // The invalidator of this test has no watermark.
    let settings = CacheSettings::default().with_on_lag(OnLag::Serve);
    let cache = replicated.settings(settings).build().expect("a cache");
    cache.get_many([1, 2]).await.expect("values");
    rows.commit_and_reload(&store, &cache).await;
    assert_eq!(cache.get_many([1, 2]).await.expect("values"), [Some(2), Some(1)], "plain values are of two moments");
    assert_eq!(cache.get_many([1, 2]).consistent().await.expect("values"), [Some(2); 2]);
}

/// A position that claims nothing is a good lower bound, and no upper bound at all.
#[tokio::test]
async fn an_empty_executed_position_proves_nothing() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows { asked: Some(("server", "")), ..Rows::new(true) });
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    cache.get_many([1, 2]).await.expect("values");
    rows.commit_and_reload(&store, &cache).await;
    assert_eq!(cache.get_many([1, 2]).consistent().await.expect("values"), [Some(2); 2]);
}

/// A demoted primary executes nothing more, so all that it has is applied.
#[tokio::test]
async fn what_another_server_has_executed_proves_nothing() {
    for (server, batches) in [("demoted", 1), ("server", 0)] {
        let (store, rows) =
            (Arc::new(MemoryStore::new("t")), Rows { asked: Some((server, "db:1")), ..Rows::new(true) });
        let _invalidator = ManualInvalidator::begin(&store).await;
        let cache = cache_of(&store, &rows);
        for key in [1, 2] {
            cache.get(&key).await.expect("a value");
        }
        if server == "demoted" {
            rows.commit_and_reload(&store, &cache).await;
        }
        let (hits, last) = (cache.get_many([1, 2]).consistent().await, rows.database.0.row.load(Ordering::SeqCst));
        assert_eq!(hits.expect("values"), [Some(last); 2]);
        assert_eq!(rows.batches.load(Ordering::SeqCst), batches, "{server}");
    }
}

#[tokio::test]
async fn a_value_that_lacks_the_token_is_loaded_over() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    cache.get_many([1, 2]).await.expect("values");
    rows.database.write(2);
    let token: Position = "db:2".parse().expect("a position");
    assert_eq!(cache.get_many([1, 2]).consistent().at_least(&token).await.expect("values"), [Some(2); 2]);
    let stored = cache.get(&1).detailed().await.expect("a value");
    assert_eq!((stored.value, stored.tier), (Some(2), Tier::Shared), "the next reader needs no load");
}

#[tokio::test]
async fn a_read_does_not_wait_for_a_watermark_that_does_not_move() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let proof_wait = Duration::from_secs(600);
    invalidator.source_time = Timestamp::from_micros(SystemClock::new().now().as_micros() - 601_000_000);
    invalidator.commit().await;
    let settings = CacheSettings::default().with_proof_wait(proof_wait).with_on_lag(OnLag::Serve);
    let cache = builder(&store, &rows.database).settings(settings).loader(rows.clone()).build().expect("a cache");
    cache.get_many([1, 2]).await.expect("values");
    rows.database.write(2);
    let read = tokio::time::timeout(WAIT_MAX, cache.get_many([1, 2]).consistent().into_future()).await;
    assert_eq!(read.expect("it does not wait").expect("values"), [Some(2); 2]);
}

#[tokio::test]
async fn the_hard_timeout_bounds_the_question_what_was_executed() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let settings = CacheSettings::default().with_load_hard_timeout(Duration::from_millis(20));
    let cache = builder(&store, &rows.database).settings(settings).loader(rows.clone()).build().expect("a cache");
    cache.get_many([1, 2]).await.expect("values");
    rows.meanwhile(std::future::pending());
    let read = tokio::time::timeout(WAIT_MAX, cache.get_many([1, 2]).consistent().into_future()).await;
    assert_eq!(read.expect("it ends").expect_err("no reply in time").kind(), ErrorKind::Timeout);
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
async fn without_an_executed_position_all_keys_are_loaded_at_once() {
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

#[tokio::test]
async fn a_read_ends_although_the_database_says_no_executed_position() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let settings = CacheSettings::default().with_load_timeout(Duration::from_millis(20));
    let cache = builder(&store, &rows.database).settings(settings).loader(rows.clone()).build().expect("a cache");
    cache.get_many([1, 2]).await.expect("values");
    rows.meanwhile(std::future::pending());
    let read = cache.get_many([1, 2]).consistent().detailed().await.expect("values");
    assert_eq!((values(&read), read[0].tier), (vec![Some(1); 2], Tier::Database));
}

#[tokio::test]
async fn a_dropped_read_leaves_no_lease_and_its_values_are_stored() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows { database: Database::default(), ..Rows::new(true) });
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_many([1, 2]).consistent().detailed().await }
    });
    rows.database.0.reading.notified().await;
    read.abort();
    assert!(read.await.expect_err("aborted").is_cancelled());
    rows.database.0.returning.add_permits(1);
    for key in [1, 2] {
        wait_until("the value is stored", || async { cache.peek(&key).await.expect("a peek").is_some() }).await;
    }
    assert_eq!(rows.database.loads(), 1);
}

/// A loader that writes `WHERE id IN ()` fails.
#[tokio::test]
async fn no_keys_load_nothing() {
    let (store, rows) = (Arc::new(MemoryStore::new("t")), Rows::new(true));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &rows);
    assert_eq!(cache.get_many([0_u64; 0]).consistent().await.expect("no values"), []);
    cache.set_serving_mode(crate::cache::ServingMode::Bypass);
    assert_eq!(cache.get_many([0_u64; 0]).consistent().await.expect("no values"), []);
    assert_eq!((rows.batches.load(Ordering::SeqCst), rows.database.loads()), (0, 0));
}
