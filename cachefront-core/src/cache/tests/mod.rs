//! The races of the read path, on the in-memory store.

mod breakers;
mod clear;
mod codecs;
mod consistent;
mod fence;
mod freshness;
mod hooks;
mod joined;
mod keys;
mod levels;
mod loaded;
mod logs;
mod many;
mod many_values;
mod merge;
mod no_loader;
mod operate;
mod permits;
mod refresh;
mod size;
mod spans;
mod split;
mod stats;
mod tags;
mod undriven;
mod warm_up;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::bus::{BusEvent, BusMessage, Listener, Publisher};
use crate::cache::{Cache, CacheBuilder, Local, Tier};
use crate::clock::{Clock, Sleep, SystemClock, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::event::RowImage;
use crate::key::StoreKey;
use crate::loader::{LoadCx, Loader};
use crate::position::Position;
use crate::settings::CacheSettings;
use crate::source::{Checkpoint, Columns, TableFilter};
use crate::store::{
    Applied, Coverage, Covered, Expected, Generation, InvalidationMode, MappingId, MemoryStore, Meta, Store,
    StoreWriter,
};
use crate::testing::{ManualClock, WAIT_MAX, wait_until};

/// A one-row database whose loads stop between the read of the row and the return.
#[derive(Clone, Default)]
struct Database(Arc<Shared>);

struct Shared {
    row: AtomicU64,
    loads: AtomicU64,
    reading: Notify,
    /// One permit for each load that may return.
    returning: Semaphore,
    fails: std::sync::atomic::AtomicBool,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            row: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            reading: Notify::new(),
            returning: Semaphore::new(0),
            fails: false.into(),
        }
    }
}

impl Database {
    fn free() -> Self {
        let database = Self::default();
        database.0.returning.add_permits(Semaphore::MAX_PERMITS / 2);
        database
    }

    fn loads(&self) -> u64 {
        self.0.loads.load(Ordering::SeqCst)
    }

    fn write(&self, value: u64) {
        self.0.row.store(value, Ordering::SeqCst);
    }
}

impl Loader<u64, u64> for Database {
    type Error = std::io::Error;

    async fn load(&self, _key: &u64, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        let value = self.0.row.load(Ordering::SeqCst);
        let mut executed = Position::new();
        executed.insert_range(&Arc::from("db"), 1, value);
        cx.position(executed);
        self.0.reading.notify_one();
        self.0.returning.acquire().await.expect("open").forget();
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("the table is locked"));
        }
        Ok((value > 0).then_some(value))
    }
}

/// An invalidator that a test controls step by step.
struct ManualInvalidator {
    writer: Box<dyn StoreWriter>,
    held: Expected,
    position: Position,
    publisher: Publisher,
    source_time: Timestamp,
}

impl ManualInvalidator {
    async fn begin(store: &MemoryStore) -> Self {
        Self::covering(store, mapping()).await
    }

    async fn covering(store: &MemoryStore, mapping: MappingId) -> Self {
        Self::at_server(store, mapping, "server").await
    }

    /// Begins at the head of this server's log.
    async fn at_server(store: &MemoryStore, mapping: MappingId, server: &str) -> Self {
        let mut writer = store.writer().await.expect("a writer");
        let generation = Generation(rand_u128());
        let mut position = Position::new();
        position.insert_range(&Arc::from("db"), 1, 1);
        let head = Checkpoint { position: position.clone(), ..Checkpoint::default() };
        let term = writer.term().await.expect("a term") + 1;
        let covered = Covered { mapping, generation: Generation(rand_u128()), cache: "row".into() };
        let meta = Meta::at_head(generation, term, 1, 1, server, &head).covering(Coverage::new([covered]));
        writer.flush(&meta).await.expect("a flush");
        let held = Expected { generation, term, applied_order: 1 };
        let publisher = Publisher(rand_u128());
        let mut invalidator = Self { writer, held, position, publisher, source_time: Timestamp::UNKNOWN };
        invalidator.publish(BusEvent::Flush).await;
        invalidator.beat().await;
        invalidator
    }

    async fn beat(&mut self) {
        self.publish(BusEvent::Heartbeat(vec![mapping()])).await;
    }

    async fn publish(&mut self, event: BusEvent) {
        let message = BusMessage {
            publisher: self.publisher,
            event,
            applied: Some(self.position.clone()),
            source_time: self.source_time,
            sent_at: Timestamp::UNKNOWN,
        };
        self.writer.publish(&message).await.expect("published");
    }

    /// Applies commit `number`, which changed `key`.
    async fn apply(&mut self, number: u64, key: &StoreKey) {
        let order = self.held.applied_order + 1;
        self.position.insert_range(&Arc::from("db"), 1, number);
        self.writer.raise_high_watermark(&self.held, order).await.expect("the high watermark is raised");
        self.writer.invalidate(std::slice::from_ref(key)).await.expect("invalidated");
        self.publish(BusEvent::Keys(vec![key.as_str().into()])).await;
        self.commit_at(order).await;
    }

    /// Writes the applied position and the source time again.
    async fn commit(&mut self) {
        self.commit_at(self.held.applied_order).await;
    }

    async fn commit_at(&mut self, order: u64) {
        let checkpoint = Checkpoint { position: self.position.clone(), ..Checkpoint::default() };
        let applied = Applied { order, checkpoint, source_time: self.source_time };
        self.writer.commit(&self.held, &applied).await.expect("applied");
        self.held.applied_order = order;
    }
}

/// The mapping of the cache of [`builder`].
fn mapping() -> MappingId {
    MappingId::new("row", &table_filter(), &[], 0)
}

fn table_filter() -> TableFilter {
    let mut filter = TableFilter::new();
    filter.add("shop.row".into(), &Columns::All);
    filter
}

fn rand_u128() -> u128 {
    use crate::clock::{Entropy, SystemEntropy};
    SystemEntropy.random_u128()
}

fn builder(store: &Arc<MemoryStore>, database: &Database) -> CacheBuilder<u64, u64> {
    let settings = CacheSettings { proof_wait: Duration::from_millis(50), ..CacheSettings::default() };
    Cache::builder("row")
        .settings(settings)
        .shared(Arc::clone(store))
        .loader(database.clone())
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
}

fn key() -> StoreKey {
    StoreKey::encode("row", &7_u64).expect("a key")
}

/// Waits for the tier, which is turned on by the first heartbeat after the cache has subscribed.
async fn followed(cache: &Cache<u64, u64>, invalidator: &mut ManualInvalidator) {
    for _ in 0..WAIT_MAX.as_millis() / 5 {
        invalidator.beat().await;
        let following = async {
            while !cache.inner.subscription.epochs.is_following() {
                tokio::task::yield_now().await
            }
        };
        if tokio::time::timeout(Duration::from_millis(5), following).await.is_ok() {
            return;
        }
    }
    panic!("the cache does not follow the bus");
}

async fn handled(cache: &Cache<u64, u64>, number: u64) {
    let token: Position = format!("db:1-{number}").parse().expect("a position");
    wait_until("the bus message was handled", || async {
        cache.inner.subscription.handled.load().applied.as_ref().is_some_and(|applied| applied.covers(&token))
    })
    .await;
}

#[tokio::test]
async fn a_value_is_loaded_once_and_served_by_each_tier() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let plain = builder(&store, &database).build().expect("a cache");
    let tiered = builder(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    followed(&tiered, &mut invalidator).await;
    assert_eq!(plain.get(&7).detailed().await.expect("a value").tier, Tier::Database);
    assert_eq!(plain.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
    assert_eq!(tiered.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
    let hit = tiered.get(&7).detailed().await.expect("a value");
    assert_eq!((hit.tier, hit.value), (Tier::Local, Some(1)));
    assert_eq!(database.loads(), 1);
}

#[tokio::test]
async fn a_fill_that_an_invalidation_overtook_is_returned_and_not_cached() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::default());
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    followed(&cache, &mut invalidator).await;
    let old = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await }
    });
    database.0.reading.notified().await;
    database.write(2);
    invalidator.apply(2, &key()).await;
    handled(&cache, 2).await;
    // A reader that starts now begins another load, while the old one still runs.
    let new = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await }
    });
    database.0.reading.notified().await;
    database.0.returning.add_permits(2);
    assert_eq!(new.await.expect("joined").expect("a value"), Some(2));
    assert_eq!(old.await.expect("joined").expect("a value"), Some(1));
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2));
    assert_eq!(database.loads(), 2);
}

#[tokio::test]
async fn a_waiter_is_not_given_a_value_that_the_store_refused() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::default());
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).build().expect("a cache");
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await }
    });
    database.0.reading.notified().await;
    database.write(2);
    // The store knows of the commit; this process does not yet, because no message was published.
    invalidator.writer.invalidate(&[key()]).await.expect("invalidated");
    let second = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await }
    });
    wait_until("the second reader has joined", || async { cache.inner.flights.waiters(&7) == 2 }).await;
    database.0.returning.add_permits(2);
    assert_eq!(first.await.expect("joined").expect("a value"), Some(1));
    assert_eq!(second.await.expect("joined").expect("a value"), Some(2));
}

#[tokio::test]
async fn ten_thousand_readers_load_once() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::default());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let caches = [0, 1].map(|_| builder(&store, &database).build().expect("a cache"));
    let readers: Vec<_> = (0..10_000)
        .map(|index: usize| {
            let cache = caches[index % 2].clone();
            tokio::spawn(async move { cache.get(&7).await })
        })
        .collect();
    database.0.reading.notified().await;
    database.0.returning.add_permits(10_000);
    for reader in readers {
        assert_eq!(reader.await.expect("joined").expect("a value"), Some(1));
    }
    assert_eq!(database.loads(), 1);
}

#[tokio::test]
async fn a_token_is_proven_by_the_load_or_by_what_was_applied() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).build().expect("a cache");
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    database.write(2);
    let token: Position = "db:2".parse().expect("a position");
    // The invalidation is not applied yet: an eventual read is served, the read with the token is not.
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    let mine = cache.get(&7).at_least(&token).detailed().await.expect("a value");
    assert_eq!((mine.value, mine.tier), (Some(2), Tier::Database));
    assert!(mine.position.expect("a position").covers(&token));
    // It was filled with its position: the next read needs no load.
    let again = cache.get(&7).at_least(&token).detailed().await.expect("a value");
    assert_eq!((again.value, again.tier), (Some(2), Tier::Shared));
    let unknown: Position = "elsewhere:1".parse().expect("a position");
    let error = cache.get(&7).at_least(&unknown).detailed().await.expect_err("no server has that commit");
    assert_eq!(error.kind(), ErrorKind::Unproven);
    let strong = cache.get(&7).at_least(&unknown).bypass().detailed().await.expect("a value");
    assert_eq!((strong.value, strong.tier), (Some(2), Tier::Database));
    invalidator.apply(2, &StoreKey::encode("row", &8_u64).expect("a key")).await;
    let tiered = cache.get(&7).at_least(&token).detailed().await.expect("a value");
    assert_eq!(tiered.tier, Tier::Shared);
}

#[tokio::test]
async fn without_a_live_meta_no_value_is_cached_or_served() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let cache = builder(&store, &database).build().expect("a cache");
    for _ in 0..2 {
        assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database);
    }
    let _invalidator = ManualInvalidator::begin(&store).await;
    cache.get(&7).await.expect("a value");
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
    store.suspend().await.expect("suspended");
    for _ in 0..2 {
        assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database);
    }
}

#[tokio::test]
async fn an_entry_of_ttl_mode_is_a_miss_in_cdc_mode_and_after_a_flush() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).mode(InvalidationMode::Ttl).build().expect("a cache");
    cache.get(&7).await.expect("a value");
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
    cache.set_mode(InvalidationMode::Cdc);
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database);
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
    let _next = ManualInvalidator::begin(&store).await;
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database);
    cache.set_bypass(true);
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database);
}

#[tokio::test]
async fn a_value_is_served_until_it_expires_in_ttl_mode() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::new("t").with_clock(Arc::new(clock.clone())));
    let database = Database::free();
    let cache = builder(&store, &database)
        .mode(InvalidationMode::Ttl)
        .ttl(Duration::from_secs(30))
        .jitter(0.0)
        .negative_ttl(Duration::from_secs(5))
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("a cache");
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    database.write(2);
    clock.advance(Duration::from_millis(29_999));
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    let bounded = cache.get(&7).max_staleness(Duration::from_secs(1)).detailed().await.expect("a value");
    assert_eq!((bounded.value, bounded.tier), (Some(2), Tier::Database));
    clock.advance(Duration::from_secs(30));
    database.write(0);
    assert_eq!(cache.get(&7).await.expect("absent"), None);
    database.write(3);
    clock.advance(Duration::from_millis(4_999));
    assert_eq!(cache.get(&7).await.expect("absent"), None);
    clock.advance(Duration::from_millis(1));
    assert_eq!(cache.get(&7).await.expect("a value"), Some(3));
}

#[tokio::test]
async fn a_failed_load_is_an_error_with_its_cause() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).build().expect("a cache");
    database.0.fails.store(true, Ordering::SeqCst);
    let error: Error = cache.get(&7).await.expect_err("the load fails");
    assert_eq!(error.kind(), ErrorKind::Load);
    assert!(error.load_error::<std::io::Error>().is_some());
    database.0.fails.store(false, Ordering::SeqCst);
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
}

#[tokio::test]
async fn a_panicking_loader_fails_its_own_readers_only() {
    let cache: Cache<u64, u64> = Cache::builder("panics").build().expect("a cache");
    let error = cache
        .get_or_load(&7, |_cx| async {
            if true {
                panic!("the loader has a mistake");
            }
            Ok::<_, std::io::Error>(None)
        })
        .await
        .expect_err("the load panics");
    assert_eq!(error.kind(), ErrorKind::Load);
    let value = cache.get_or_load(&7, |_cx| async { Ok::<_, std::io::Error>(Some(5)) }).await;
    assert_eq!(value.expect("a value"), Some(5));
}

#[tokio::test]
async fn an_explicit_invalidation_reaches_every_process() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let caches = [0, 1].map(|_| builder(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache"));
    for cache in &caches {
        followed(cache, &mut invalidator).await;
        cache.get(&7).await.expect("a value");
        cache.get(&7).await.expect("a value");
    }
    database.write(2);
    caches[0].invalidate(&7).await.expect("invalidated");
    assert_eq!(caches[0].get(&7).await.expect("a value"), Some(2));
    let (other, loads) = (&caches[1], database.loads());
    wait_until("the other process has heard of it", || async {
        other.inner.local_get(&7).is_none_or(|value| value == Some(2))
    })
    .await;
    assert_eq!(other.get(&7).await.expect("a value"), Some(2));
    assert_eq!(database.loads(), loads);
}

#[tokio::test]
async fn build_names_the_wrong_setting() {
    let name = |built: Result<Cache<u64, u64>, Error>| built.expect_err("a mistake").to_string();
    assert!(name(Cache::builder("a b").build()).contains("`a b`"));
    assert!(name(Cache::builder("a").ttl(Duration::ZERO).build()).contains("`ttl`"));
    assert!(name(Cache::builder("a").jitter(1.0).build()).contains("`jitter`"));
    assert!(name(Cache::builder("a").mode(InvalidationMode::Cdc).build()).contains("`depends_on`"));
    assert!(name(Cache::builder("a").depends_on("users", |_| Ok(vec![1_u64])).build()).contains("`users`"));
    let settings = CacheSettings { loads_max: 0, ..Default::default() };
    assert!(name(Cache::builder("a").settings(settings).build()).contains("`loads_max`"));
}

/// A clock that runs a closure when it is read the next time.
#[derive(Debug, Default)]
struct Interrupting {
    clock: SystemClock,
    next: std::sync::Mutex<Option<Interruption>>,
}

struct Interruption(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Interruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interruption")
    }
}

impl Clock for Interrupting {
    fn now(&self) -> Timestamp {
        let next = self.next.lock().expect("unpoisoned").take();
        if let Some(Interruption(interrupt)) = next {
            interrupt();
        }
        self.clock.now()
    }

    fn coarse(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.clock.sleep(duration)
    }
}

#[tokio::test]
async fn a_session_is_not_proven_by_later_messages() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let clock = Arc::new(Interrupting::default());
    let cache = builder(&store, &database)
        .local(Local::max_weight(1 << 20))
        .clock(Arc::<Interrupting>::clone(&clock))
        .build()
        .expect("a cache");
    followed(&cache, &mut invalidator).await;
    cache.get(&7).await.expect("a value");
    assert!(cache.inner.local_get(&7).is_some());
    database.write(2);
    let token: Position = "db:1-2".parse().expect("a position");
    // While the read has the old value, the message of commit 2 is handled completely.
    let subscription = Arc::clone(&cache.inner.subscription);
    let applied = token.clone();
    *clock.next.lock().expect("unpoisoned") = Some(Interruption(Box::new(move || {
        subscription.invalidate(key().as_str());
        subscription.handled(&applied, Timestamp::UNKNOWN);
    })));
    let mine = cache.get(&7).at_least(&token).detailed().await.expect("a value");
    assert!(clock.next.lock().expect("unpoisoned").is_none(), "the closure did not run: the test is meaningless");
    assert_eq!((mine.value, mine.tier), (Some(2), Tier::Database));
}
