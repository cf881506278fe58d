//! Events between two calls of a reader: a store with hooks for a test.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::bus::{Hub, InvalidationBus};
use crate::error::Result;
use crate::store::{Fill, FillReply, LeaseReply, LeaseRequest, Reading, Token};

type Act = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a hook runs, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    BeforeGet,
    AfterGetMany,
    BeforePeek,
    BeforeLease,
    AfterLease,
    BeforeFill,
    AfterFill,
    BeforeDiscard,
    BeforeFlush,
    AfterFlush,
}

/// A store that passes operations on, and runs hooks.
pub(super) struct Hooked {
    inner: MemoryStore,
    /// The bus of another store, if the bus is not the store's own.
    bus: Option<Arc<dyn InvalidationBus>>,
    acts: Mutex<HashMap<At, Act>>,
    /// The meta that is read with markers of tags, if it is not the store's own.
    markers_meta: Mutex<Option<Arc<Meta>>>,
}

impl Hooked {
    pub(super) fn new(inner: &MemoryStore) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), bus: None, acts: Mutex::default(), markers_meta: Mutex::default() })
    }

    /// A connection that stayed at the former primary, in a process that follows the bus of the current one.
    pub(super) fn with_bus_of(former: &MemoryStore, current: &MemoryStore) -> Arc<Self> {
        Arc::new(Self {
            inner: former.clone(),
            bus: Some(current.bus()),
            acts: Mutex::default(),
            markers_meta: Mutex::default(),
        })
    }

    pub(super) fn once(&self, at: At, act: impl Future<Output = ()> + Send + 'static) {
        self.acts.lock().expect("unpoisoned").insert(at, Box::pin(act));
    }

    /// Lets the shard of every marker be one that has fallen back to this meta.
    pub(super) fn set_markers_meta(&self, meta: Arc<Meta>) {
        *self.markers_meta.lock().expect("unpoisoned") = Some(meta);
    }

    async fn act(&self, at: At) {
        let act = self.acts.lock().expect("unpoisoned").remove(&at);
        if let Some(act) = act {
            act.await;
        }
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

#[async_trait]
impl Store for Hooked {
    fn namespace(&self) -> &str {
        self.inner.namespace()
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        self.act(At::BeforeGet).await;
        self.inner.get(key).await
    }

    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        self.act(At::BeforePeek).await;
        self.inner.peek(key).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        let mut readings = self.inner.get_many(keys).await?;
        let meta = self.markers_meta.lock().expect("unpoisoned").clone();
        for (key, reading) in keys.iter().zip(&mut readings) {
            if meta.is_some() && key.as_str().contains("#tags:") {
                reading.meta.clone_from(&meta);
            }
        }
        self.act(At::AfterGetMany).await;
        Ok(readings)
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        self.act(At::BeforeLease).await;
        let reply = self.inner.lease(request).await;
        self.act(At::AfterLease).await;
        reply
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        self.act(At::BeforeFill).await;
        let reply = self.inner.fill(fill).await;
        self.act(At::AfterFill).await;
        reply
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        self.inner.release(key, token).await
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        self.act(At::BeforeDiscard).await;
        self.inner.discard(keys).await
    }

    async fn discard_cache(&self, cache: &str) -> Result<()> {
        self.inner.discard_cache(cache).await
    }

    async fn covered(&self) -> Result<Coverage> {
        self.inner.covered().await
    }

    async fn flush_caches(&self, rows: &[(MappingId, Generation)]) -> Result<()> {
        self.act(At::BeforeFlush).await;
        self.inner.flush_caches(rows).await?;
        self.act(At::AfterFlush).await;
        Ok(())
    }

    async fn suspend(&self) -> Result<()> {
        self.inner.suspend().await
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        self.inner.writer().await
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        self.bus.clone().unwrap_or_else(|| self.inner.bus())
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        self.inner.hub().filter(|_| self.bus.is_none())
    }
}

pub(super) fn hooked(store: &Arc<Hooked>, database: &Database) -> CacheBuilder<u64, u64> {
    Cache::builder("row")
        .shared(Arc::clone(store))
        .loader(database.clone())
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
}

/// A value is accepted by the store, then invalidated there, then a reader starts, and only then does the reply to the fill
/// arrive: the reader must not take that value.
#[tokio::test]
async fn a_load_is_not_joined_once_its_fill_is_sent() {
    let (memory, database) = (MemoryStore::new("t"), Database::free());
    let mut invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let cache = hooked(&store, &database).build().expect("a cache");
    let late = Arc::new(Mutex::new(None));
    store.once(At::AfterFill, {
        let (cache, database, late) = (cache.clone(), database.clone(), Arc::clone(&late));
        async move {
            database.write(2);
            invalidator.writer.invalidate(&[key()]).await.expect("invalidated");
            let reader = tokio::spawn(async move { cache.get(&7).await });
            *late.lock().expect("unpoisoned") = Some(reader);
            let loads_again = async {
                while database.loads() < 2 {
                    tokio::task::yield_now().await
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(200), loads_again).await;
        }
    });
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    let reader = late.lock().expect("unpoisoned").take().expect("the fill was sent");
    assert_eq!(reader.await.expect("joined").expect("a value"), Some(2));
}

/// Another process fills between the lookup and the lease request, with a value that lacks the token.
#[tokio::test]
async fn what_another_process_filled_is_checked_for_a_session() {
    let (memory, database) = (MemoryStore::new("t"), Database::free());
    let _invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let cache = hooked(&store, &database).build().expect("a cache");
    let other = hooked(&Hooked::new(&memory), &database).build().expect("another process's cache");
    store.once(At::BeforeLease, {
        let database = database.clone();
        async move {
            assert_eq!(other.get(&7).await.expect("a value"), Some(1));
            database.write(2);
        }
    });
    let token: Position = "db:2".parse().expect("a position");
    let mine = cache.get(&7).at_least(&token).detailed().await.expect("a value");
    assert_eq!((mine.value, mine.tier), (Some(2), Tier::Database));
}

/// A value is read from the store and inserted here after the invalidation began and before the store has executed it.
#[tokio::test]
async fn an_explicit_invalidation_also_removes_values_inserted_meanwhile() {
    let (memory, database) = (MemoryStore::new("t"), Database::free());
    let mut invalidator = ManualInvalidator::begin(&memory).await;
    let store = Hooked::new(&memory);
    let cache = hooked(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    followed(&cache, &mut invalidator).await;
    cache.get(&7).await.expect("a value");
    store.once(At::BeforeDiscard, {
        let (cache, database) = (cache.clone(), database.clone());
        async move {
            assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
            assert!(cache.inner.local_get(&7).is_some(), "it was inserted again: otherwise the test is meaningless");
            database.write(2);
        }
    });
    let invalidated = cache.invalidate(&7).await;
    assert!(cache.inner.local_get(&7).is_none());
    invalidated.expect("invalidated");
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2));
}
