//! Tags: a tag's invalidation is as strong as a key's.

use std::collections::HashMap;
use std::sync::Mutex;

use super::*;
use crate::cache::LoadReason;
use crate::event::{Change, Operation, RowChange, Value};
use crate::invalidator::Cdc;
use crate::keymap::KeyMap;
use crate::store::Operation as StoreOperation;
use crate::testing::{Fate, FaultyStore, ScriptedSource};

/// Lists by their number: a version, and the tags that the loader sets. Loads stop between the read and the return.
#[derive(Clone)]
struct Lists(Arc<Inner>);

struct Inner {
    lists: Mutex<HashMap<u64, (u64, Vec<&'static str>)>>,
    loads: AtomicU64,
    batches: AtomicU64,
    reading: Notify,
    returning: Semaphore,
}

impl Lists {
    fn new(permits: usize) -> Self {
        let inner = Inner {
            lists: Mutex::default(),
            loads: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            reading: Notify::new(),
            returning: Semaphore::new(permits),
        };
        let lists = Self(Arc::new(inner));
        (1..=9).for_each(|number| lists.set(number, 1, &[]));
        lists
    }

    fn free() -> Self {
        Self::new(Semaphore::MAX_PERMITS / 2)
    }

    fn set(&self, number: u64, version: u64, tags: &[&'static str]) {
        self.0.lists.lock().expect("unpoisoned").insert(number, (version, tags.to_vec()));
    }

    fn loads(&self) -> u64 {
        self.0.loads.load(Ordering::SeqCst)
    }

    fn read(&self, number: u64, cx: &LoadCx) -> u64 {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        let (version, tags) = self.0.lists.lock().expect("unpoisoned")[&number].clone();
        let mut executed = Position::new();
        executed.insert_range(&Arc::from("db"), 1, version);
        cx.position(executed);
        tags.iter().for_each(|tag| cx.tag(tag));
        version
    }
}

impl Loader<u64, u64> for Lists {
    type Error = std::io::Error;

    async fn load(&self, number: &u64, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        let version = self.read(*number, cx);
        self.0.reading.notify_one();
        self.0.returning.acquire().await.expect("open").forget();
        Ok((version > 0).then_some(version))
    }

    async fn load_many(&self, numbers: &[u64], cx: &LoadCx) -> Result<HashMap<u64, u64>, std::io::Error> {
        self.0.batches.fetch_add(1, Ordering::SeqCst);
        Ok(numbers.iter().map(|number| (*number, self.read(*number, cx))).collect())
    }
}

fn by_age(store: &MemoryStore, lists: &Lists) -> CacheBuilder<u64, u64> {
    Cache::builder("row").shared(store.clone()).loader(lists.clone()).tags_of(|number| vec![format!("list:{number}")])
}

/// A cache whose mapping is that of [`mapping`], with tags.
fn by_log(store: &MemoryStore, lists: &Lists) -> CacheBuilder<u64, u64> {
    by_age(store, lists).depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
}

async fn invalidator(store: &MemoryStore) -> ManualInvalidator {
    ManualInvalidator::covering(store, mapping().tagged()).await
}

fn marker(tag: &str) -> StoreKey {
    StoreKey::of_tag("row", tag).expect("a key")
}

#[tokio::test]
async fn a_tag_is_invalidated_in_all_tiers_of_all_processes() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    let caches = [0, 1].map(|_| by_age(&store, &lists).local(Local::max_weight(1 << 20)).build().expect("a cache"));
    for cache in &caches {
        for number in [1, 2] {
            assert_eq!(cache.get(&number).await.expect("a value"), Some(1));
        }
        assert_eq!(cache.get(&1).detailed().await.expect("a hit").tier, Tier::Local);
    }
    assert_eq!(lists.loads(), 2, "the first load knows its tag");
    lists.set(1, 2, &[]);
    caches[0].invalidate_tag("list:1").await.expect("invalidated");
    assert_eq!(caches[0].get(&1).await.expect("a value"), Some(2));
    wait_until("the other process has handled the message", async || {
        caches[1].get(&1).await.is_ok_and(|value| value == Some(2))
    })
    .await;
    assert_eq!(caches[1].get(&2).detailed().await.expect("a hit").tier, Tier::Local, "another tag is not affected");
    assert_eq!(lists.loads(), 3);
    assert_eq!(caches[0].stats().tag_invalidated, 1);
}

#[tokio::test]
async fn a_change_invalidates_the_tags_of_the_row_before_and_after() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    let caches = [0, 1].map(|_| {
        Cache::<u64, u64>::builder("lists")
            .shared(store.clone())
            .local(Local::max_weight(1 << 20))
            .loader(lists.clone())
            .tags_of(|number| vec![format!("list:{number}")])
            .depends_on_tags("shop.products", &["list"], |row| Ok(vec![format!("list:{}", row.get::<u64>("list")?)]))
            .build()
            .expect("a cache")
    });
    let source = ScriptedSource::new("db");
    let cdc = Cdc::new(source.clone()).bind(&caches[0]).spawn().expect("an invalidator");
    cdc.ready().await.expect("ready");
    for cache in &caches {
        wait_until("the local tier is on", async || cache.inner.subscription.epochs.is_following()).await;
        cache.get_many([1, 2, 3]).await.expect("values");
        cache.get_many([1, 2, 3]).await.expect("values");
    }
    let image = |list| Some(RowImage::from_pairs([("list", Value::UInt(list))]));
    lists.set(1, 2, &[]);
    lists.set(2, 2, &[]);
    let gtid = source.commit([Change::Row(RowChange {
        table: "shop.products".into(),
        operation: Operation::Update,
        before: image(1),
        after: image(2),
    })]);
    let mut token = Position::new();
    token.insert(&gtid);
    for cache in &caches {
        wait_until("the change is handled", async || {
            cache.inner.subscription.handled.load().applied.as_ref().is_some_and(|applied| applied.covers(&token))
        })
        .await;
        assert_eq!(cache.get_many([1, 2, 3]).await.expect("values"), [Some(2), Some(2), Some(1)]);
    }
    assert_eq!(lists.loads(), 5, "each list is loaded once for all processes");
    cdc.shutdown().await;
}

#[tokio::test]
async fn a_load_that_a_tags_invalidation_overtook_is_not_served() {
    let (store, lists) = (MemoryStore::new("t"), Lists::new(0));
    let mut invalidator = invalidator(&store).await;
    let cache = by_log(&store, &lists).build().expect("a cache");
    let read = |cache: &Cache<u64, u64>| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(&1).await })
    };
    let old = read(&cache);
    lists.0.reading.notified().await;
    lists.set(1, 2, &[]);
    invalidator.apply(2, &marker("list:1")).await;
    // It starts after the invalidation and joins the load that began before.
    let new = read(&cache);
    wait_until("the second reader has joined", || async { cache.inner.flights.waiters(&1) == 2 }).await;
    lists.0.returning.add_permits(2);
    assert_eq!(old.await.expect("joined").expect("a value"), Some(1));
    assert_eq!(new.await.expect("joined").expect("a value"), Some(2));
    assert_eq!(cache.get(&1).await.expect("a value"), Some(2));
    assert_eq!(lists.loads(), 2);
}

#[tokio::test]
async fn a_marker_that_is_made_again_makes_no_old_value_valid() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    let mut invalidator = invalidator(&store).await;
    let cache = by_log(&store, &lists).build().expect("a cache");
    cache.get(&1).await.expect("a value");
    lists.set(1, 2, &[]);
    invalidator.writer.invalidate(&[marker("list:1")]).await.expect("invalidated");
    // Another key of the same tag makes the marker again.
    let other = Cache::<u64, u64>::builder("row")
        .shared(store.clone())
        .loader(lists.clone())
        .tags_of(|_| vec!["list:1".to_owned()])
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    other.get(&2).await.expect("a value");
    assert_eq!(cache.explain(&1).await.expect("an explanation").would_load, Some(LoadReason::TagInvalidated));
    assert_eq!(cache.get(&1).await.expect("a value"), Some(2));
}

#[tokio::test]
async fn a_tag_that_the_loader_sets_costs_one_more_load_the_first_time() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    lists.set(1, 1, &["maker:7", "maker:8"]);
    let builder = || Cache::<u64, u64>::builder("row").shared(store.clone()).loader(lists.clone());
    let cache = builder().tagged().build().expect("a cache");
    assert_eq!(cache.get(&1).await.expect("a value"), Some(1));
    assert_eq!(lists.loads(), 2);
    assert_eq!(cache.get(&1).detailed().await.expect("a hit").tier, Tier::Shared);
    lists.set(1, 2, &["maker:7", "maker:8"]);
    cache.invalidate_tags(["maker:8", "maker:9"]).await.expect("invalidated");
    assert_eq!(cache.get(&1).await.expect("a value"), Some(2));
    assert_eq!((lists.loads(), cache.get(&1).await.expect("a value")), (3, Some(2)), "the tags are remembered");
    // In a batch the value is stored by the next load.
    lists.set(2, 1, &["maker:7"]);
    for _ in 0..3 {
        cache.get_many([2]).await.expect("values");
    }
    assert_eq!((lists.loads(), lists.0.batches.load(Ordering::SeqCst)), (5, 2));
    let untagged = builder().schema_version(1).build().expect("a cache");
    for _ in 0..2 {
        untagged.get(&1).await.expect("a value");
    }
    assert_eq!(lists.loads(), 7, "a value with tags is not stored by a cache that has none");
}

#[tokio::test]
async fn an_absent_row_has_tags_too() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    let cache = by_age(&store, &lists).build().expect("a cache");
    lists.set(1, 0, &[]);
    assert_eq!(cache.get(&1).await.expect("a value"), None);
    assert_eq!((cache.get(&1).detailed().await.expect("a hit").tier, lists.loads()), (Tier::Shared, 1));
    lists.set(1, 5, &[]);
    cache.invalidate_tag("list:1").await.expect("invalidated");
    assert_eq!(cache.get(&1).await.expect("a value"), Some(5));
}

#[tokio::test]
async fn after_a_tags_invalidation_one_process_loads_and_the_others_wait() {
    let (store, lists) = (MemoryStore::new("t"), Lists::new(1));
    let caches = [0, 1].map(|_| by_age(&store, &lists).build().expect("a cache"));
    caches[0].get(&1).await.expect("a value");
    lists.0.reading.notified().await;
    lists.set(1, 2, &[]);
    caches[1].invalidate_tag("list:1").await.expect("invalidated");
    let read = |cache: &Cache<u64, u64>| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(&1).await })
    };
    let first = read(&caches[0]);
    lists.0.reading.notified().await;
    let second = read(&caches[1]);
    wait_until("the second process reads the key", async || caches[1].stats().tag_invalidated == 1).await;
    lists.0.returning.add_permits(2);
    for reader in [first, second] {
        assert_eq!(reader.await.expect("joined").expect("a value"), Some(2));
    }
    assert_eq!(lists.loads(), 2);
}

#[tokio::test]
async fn a_token_is_proven_by_the_shard_of_the_marker_too() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    let mut invalidator = invalidator(&store).await;
    let hooked = hooks::Hooked::new(&store);
    let cache = Cache::<u64, u64>::builder("row")
        .settings(CacheSettings { proof_wait: Duration::from_millis(50), ..CacheSettings::default() })
        .shared(Arc::clone(&hooked))
        .loader(lists.clone())
        .tags_of(|number| vec![format!("list:{number}")])
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    cache.get(&1).await.expect("a value");
    let before = store.peek(&marker("list:1")).await.expect("a reading").meta.expect("a meta");
    // Commit 2 is applied everywhere; then the marker's shard comes back with what it had before.
    invalidator.apply(2, &key()).await;
    let token: Position = "db:2".parse().expect("a position");
    assert_eq!(cache.get(&1).at_least(&token).detailed().await.expect("a hit").tier, Tier::Shared);
    hooked.set_markers_meta(before);
    lists.set(1, 2, &[]);
    let hit = cache.get(&1).at_least(&token).detailed().await.expect("a hit");
    assert_eq!((hit.tier, hit.value), (Tier::Database, Some(2)));
}

#[tokio::test]
async fn a_release_without_tags_shares_no_entries_with_one_that_has_them() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    let tagged = by_age(&store, &lists).build().expect("a cache");
    tagged.get(&1).await.expect("a value");
    // By age, entries are distinguished by themselves.
    let plain = Cache::<u64, u64>::builder("row").shared(store.clone()).loader(lists.clone()).build().expect("a cache");
    assert_eq!(plain.get(&1).detailed().await.expect("a hit").tier, Tier::Database);
    assert_ne!(by_log(&store, &lists).rules.mapping(), mapping());
    assert_eq!(by_log(&store, &lists).rules.mapping(), mapping().tagged());
}

#[tokio::test]
async fn a_read_only_cache_makes_no_marker() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    let cache = by_age(&store, &lists).build().expect("a cache");
    cache.set_serving_mode(crate::cache::ServingMode::ReadOnly);
    assert_eq!(cache.get(&1).await.expect("a value"), Some(1));
    assert_eq!(cache.get_many([1, 2]).await.expect("values"), [Some(1), Some(1)]);
    assert_eq!((store.entries(), lists.loads()), (0, 3), "neither a lease nor a marker is stored");
}

/// Returns the tags of a value that has more than it can carry.
fn too_many() -> Vec<&'static str> {
    const NUMBERS: [&str; 17] =
        ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17"];
    NUMBERS.to_vec()
}

#[tokio::test]
async fn a_value_that_cannot_carry_its_tags_is_loaded_once_by_each_read() {
    for tags in [too_many(), vec!["maker:7", ""]] {
        let (store, lists) = (MemoryStore::new("t"), Lists::free());
        let cache = Cache::<u64, u64>::builder("row").shared(store.clone()).loader(lists.clone()).tagged();
        let cache = cache.build().expect("a cache");
        lists.set(1, 1, &tags);
        for loads in 1..=3 {
            assert_eq!(cache.get(&1).await.expect("a value"), Some(1));
            assert_eq!(lists.loads(), loads);
        }
        lists.set(1, 1, &["maker:7"]);
        for _ in 0..2 {
            cache.get(&1).await.expect("a value");
        }
        assert_eq!(cache.get(&1).detailed().await.expect("a hit").tier, Tier::Shared, "it can carry them now");
    }
}

/// Its node is away.
#[tokio::test]
async fn a_value_whose_marker_cannot_be_made_is_loaded_once_by_each_read() {
    let (memory, lists) = (MemoryStore::new("t"), Lists::free());
    let store = FaultyStore::new(memory);
    let cache = Cache::<u64, u64>::builder("row").shared(store.clone()).loader(lists.clone());
    let cache = cache.tags_of(|number| vec![format!("list:{number}")]).build().expect("a cache");
    for loads in 1..=3 {
        // The markers are read with many keys, the values with one.
        store.next(StoreOperation::GetMany, [Fate::Refused]);
        assert_eq!((cache.get(&1).await.expect("a value"), lists.loads()), (Some(1), loads));
    }
    cache.get(&1).await.expect("a value");
    assert_eq!((cache.get(&1).detailed().await.expect("a hit").tier, lists.loads()), (Tier::Shared, 4));
}

/// A loader that sets a tag, and prevents that its values are cached.
#[derive(Clone, Default)]
struct Uncached(Arc<AtomicU64>);

impl Loader<u64, u64> for Uncached {
    type Error = std::io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        cx.tag("maker:7");
        cx.no_store();
        Ok(Some(*key))
    }
}

#[tokio::test]
async fn a_loader_that_prevents_caching_runs_once() {
    let uncached = Uncached::default();
    let cache = Cache::builder("row").loader(uncached.clone()).tagged().build().expect("a cache");
    cache.get(&1).await.expect("a value");
    assert_eq!(uncached.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_loader_for_one_call_that_sets_tags_is_not_replaced() {
    let (store, lists) = (MemoryStore::new("t"), Lists::free());
    let cache = Cache::<u64, u64>::builder("row").shared(store.clone()).loader(lists.clone()).tagged();
    let cache = cache.build().expect("a cache");
    let own = |cx: Arc<LoadCx>| async move {
        cx.tag("maker:7");
        Ok::<_, std::io::Error>(Some(99))
    };
    assert_eq!(cache.get_or_load(&1, own).await.expect("a value"), Some(99));
    assert_eq!(lists.loads(), 0);
    assert_eq!(
        cache.get_or_load(&1, own).await.expect("a value"),
        Some(99),
        "it is stored with the tag that is known now"
    );
    assert_eq!(cache.get(&1).detailed().await.expect("a hit").tier, Tier::Shared);
    cache.invalidate_tag("maker:7").await.expect("invalidated");
    assert_eq!((cache.get(&1).await.expect("a value"), lists.loads()), (Some(1), 1));
}
