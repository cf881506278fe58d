//! The cache: what a service holds and reads through.

mod builder;
mod epochs;
mod flight;
mod found;
mod get;
mod level;
mod load;
mod local;
mod many;
mod read;
mod settle;
mod side;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub use builder::{CacheBuilder, IntoStore};
pub use found::{Hit, Tier};
pub use get::{Get, GetDetailed, GetFuture};
pub use local::Local;

use crate::bus::{BusEvent, BusMessage, Hub, Listener, Pace, Publisher};
use crate::cache::flight::Flights;
use crate::cache::load::Work;
use crate::cache::local::LocalTier;
use crate::cache::side::Side;
use crate::clock::{Clock, Entropy, Timestamp};
use crate::codec::Codec;
use crate::error::{BoxError, Result};
use crate::key::{CacheKey, StoreKey};
use crate::keymap::{KeyMap, TableRules};
use crate::loader::{DynLoader, LoadCx};
use crate::metrics::CacheMetrics;
use crate::policy::TtlPolicy;
use crate::settings::CacheSettings;
use crate::store::{InvalidationMode, MappingId, Store};

/// A read-through cache of `V` by `K`: a cheap handle, to be cloned freely.
///
/// A read looks into this process's own tier (if there is one), then into the shared store, and at last loads from the
/// database under a lease, once for all readers of all processes. See [`Cache::builder`].
pub struct Cache<K, V> {
    inner: Arc<Inner<K, V>>,
}

pub(crate) struct Parts<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) schema_version: u32,
    pub(crate) local: Option<Local>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) policy: Arc<dyn TtlPolicy>,
    pub(crate) loader: Option<Arc<dyn DynLoader<K, V>>>,
    pub(crate) codec: Arc<dyn Codec<V>>,
    pub(crate) rules: Arc<TableRules>,
    pub(crate) mode: InvalidationMode,
    pub(crate) settings: CacheSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

struct Inner<K, V> {
    name: Arc<str>,
    schema_version: u32,
    local: Option<LocalTier<K, V>>,
    store: Arc<dyn Store>,
    policy: Arc<dyn TtlPolicy>,
    loader: Option<Arc<dyn DynLoader<K, V>>>,
    codec: Arc<dyn Codec<V>>,
    rules: Arc<TableRules>,
    settings: CacheSettings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// This cache under its mapping: it is kept only while the store's meta covers it.
    mapping: MappingId,
    /// What the bus does to this cache.
    side: Arc<Side>,
    /// Follows the bus, for all caches on this store if it has a hub of its own.
    _hub: Arc<Hub>,
    /// The server whose log is followed, as the store said last; empty if it never did.
    log_origin: ArcSwap<Box<str>>,
    /// It was said already that no invalidator covers this cache.
    uncovered: AtomicBool,
    flights: Arc<Flights<K, V>>,
    /// Bounds the loads that run at once, so that a store's outage cannot stampede the database.
    loads: Semaphore,
    loads_waiting: AtomicUsize,
    bypass: AtomicBool,
    mode: AtomicU8,
    metrics: CacheMetrics,
    /// The ticker of the coarse clock. It ends with the last handle.
    ticker: Option<JoinHandle<()>>,
}

impl Cache<(), ()> {
    /// Starts to build a cache of this name; the name is part of every stored key.
    ///
    /// ```
    /// use cachefront::{Cache, CacheBuilder, loader_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
    /// let greetings: Cache<u64, String> = Cache::builder("greetings")
    ///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("hello {id}"))) }))
    ///     .build()?;
    /// assert_eq!(greetings.get(&7).await?, Some("hello 7".to_owned()));
    /// # Ok::<(), cachefront::Error>(())
    /// # }).expect("the example runs");
    /// ```
    pub fn builder<K, V>(name: &str) -> CacheBuilder<K, V> {
        CacheBuilder::new(name)
    }
}

impl<K, V> Cache<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The value of `key`, or none if the database has no such row. Options are asked for before `.await`:
    /// [`at_least`](Get::at_least), [`max_staleness`](Get::max_staleness), [`detailed`](Get::detailed).
    ///
    /// # Errors
    /// Only if the database had to be asked and could not answer: [`Load`](crate::ErrorKind::Load),
    /// [`Timeout`](crate::ErrorKind::Timeout), [`Overloaded`](crate::ErrorKind::Overloaded); or if its answer is known
    /// to miss what [`at_least`](Get::at_least) or [`max_staleness`](Get::max_staleness) demands:
    /// [`Unproven`](crate::ErrorKind::Unproven). A store that is down is no error.
    ///
    /// # Cancel safety
    /// Cancel safe. A load that was begun goes on, and its value is stored.
    pub fn get<'a, Q>(&'a self, key: &'a Q) -> Get<'a, K, V, Q>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        Get::new(self, key)
    }

    /// The values of many keys, in the order asked for: one reading of the store for all, one
    /// [`load_many`](crate::Loader::load_many) for those that this call has to load.
    ///
    /// # Errors
    /// As [`get`](Self::get), the first error of any key.
    ///
    /// # Cancel safety
    /// As [`get`](Self::get).
    pub async fn get_many<Q>(&self, keys: impl IntoIterator<Item = Q>) -> Result<Vec<Option<V>>>
    where
        Q: Borrow<K>,
    {
        let keys: Vec<K> = keys.into_iter().map(|key| key.borrow().clone()).collect();
        Arc::clone(&self.inner).read_many(keys).await
    }

    /// As [`get`](Self::get), with a loader for this call. It is run only if no flight of this key can be joined.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// As [`get`](Self::get).
    pub async fn get_or_load<F, Fut, E>(&self, key: &K, load: F) -> Result<Option<V>>
    where
        F: FnOnce(Arc<LoadCx>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        if let Some(value) = self.inner.local_get(key) {
            return Ok(value);
        }
        let work = Work::once(load);
        let hit = Arc::clone(&self.inner).read(key.clone(), &level::Level::default(), work).await?;
        Ok(hit.value)
    }

    /// Looks without touching: what a plain read here and now would serve without loading, or none.
    ///
    /// # Errors
    /// If the store cannot be read.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn peek(&self, key: &K) -> Result<Option<Hit<V>>> {
        self.inner.peek(key).await
    }

    /// Removes a key from all tiers of all processes. Changes in the database need no such call.
    ///
    /// # Errors
    /// If the store or its bus cannot be reached. The key is gone from this process's own tier all the same.
    ///
    /// # Cancel safety
    /// Not cancel safe: the key may be gone from some tiers only.
    pub async fn invalidate(&self, key: &K) -> Result<()> {
        let inner = &*self.inner;
        // A key that is too long to be stored is in no tier.
        let Some(key) = StoreKey::encode_short(&inner.name, key)? else { return Ok(()) };
        inner.side.epochs.invalidate(&key);
        inner.store.discard(std::slice::from_ref(&key)).await?;
        // Again: a value that was read before the store's answer may have been put away since the first time.
        inner.side.epochs.invalidate(&key);
        let message = BusMessage {
            publisher: Publisher::READER,
            event: BusEvent::Keys(vec![key.as_str().into()]),
            applied: None,
            source_time: Timestamp::UNKNOWN,
            sent_at: inner.clock.now(),
        };
        inner.store.bus().publish(&message).await.map(drop)
    }

    /// Sets whether reads go to the database without a look at the tiers; nothing is stored then.
    ///
    /// Default: `false`.
    pub fn set_bypass(&self, bypass: bool) {
        self.inner.bypass.store(bypass, Ordering::SeqCst);
    }

    /// Returns true if reads go to the database, and nothing is stored.
    pub fn is_bypassed(&self) -> bool {
        self.inner.is_bypassed()
    }

    /// By which rule values are kept right from now on. What this process holds is voided. In CDC mode no
    /// value is served that was stored in the other one, and none until an invalidator has begun a new generation.
    pub fn set_mode(&self, mode: InvalidationMode) {
        let inner = &*self.inner;
        if inner.mode.swap(mode as u8, Ordering::SeqCst) != mode as u8 {
            inner.side.epochs.invalidate_all();
        }
    }

    /// By which rule values are kept right.
    pub fn mode(&self) -> InvalidationMode {
        self.inner.mode()
    }

    pub(crate) fn assemble(parts: Parts<K, V>) -> Self {
        let metrics = CacheMetrics::new(&parts.name);
        let mapping = parts.rules.mapping();
        let covered = (!parts.rules.is_empty()).then_some(mapping);
        let side = Arc::new(Side::new(Arc::clone(&parts.name), covered, parts.settings.epoch_slots, metrics.clone()));
        let hub = parts.store.hub().map_or_else(Arc::default, Arc::clone);
        if covered.is_some() || parts.local.is_some() {
            let pace = Pace {
                clock: Arc::clone(&parts.clock),
                entropy: Arc::clone(&parts.entropy),
                silence_max: parts.settings.bus_silence_max,
                pause_min: parts.settings.bus_retry_min,
                pause_max: parts.settings.bus_retry_max,
            };
            let listener: Arc<dyn Listener> = Arc::clone(&side) as _;
            hub.join(parts.store.bus(), pace, &listener);
        }
        let ticker = parts.local.is_some().then(|| tick(Arc::clone(&parts.clock), parts.settings.tick));
        let inner = Inner {
            name: parts.name,
            schema_version: parts.schema_version,
            local: parts.local.map(LocalTier::new),
            store: parts.store,
            policy: parts.policy,
            loader: parts.loader,
            codec: parts.codec,
            rules: parts.rules,
            loads: Semaphore::new(parts.settings.loads_max),
            loads_waiting: AtomicUsize::new(0),
            settings: parts.settings,
            clock: parts.clock,
            entropy: parts.entropy,
            mapping,
            side,
            _hub: hub,
            log_origin: ArcSwap::default(),
            uncovered: AtomicBool::new(false),
            flights: Arc::new(Flights::new()),
            bypass: AtomicBool::new(false),
            mode: AtomicU8::new(parts.mode as u8),
            metrics,
            ticker,
        };
        Self { inner: Arc::new(inner) }
    }
}

impl<K, V> Inner<K, V> {
    #[inline]
    fn is_bypassed(&self) -> bool {
        self.bypass.load(Ordering::Relaxed)
    }
}

impl<K, V> Cache<K, V> {
    /// The cache's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The store that it shares with other processes.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner.store)
    }

    /// Which keys a change makes stale: what an invalidator needs of this cache.
    pub fn key_map(&self) -> Arc<dyn KeyMap> {
        Arc::clone(&self.inner.rules) as Arc<dyn KeyMap>
    }
}

fn tick(clock: Arc<dyn Clock>, period: std::time::Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            clock.tick();
            clock.sleep(period).await;
        }
    })
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K, V> Drop for Inner<K, V> {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.inner.name)
            .field("store", &self.inner.store)
            .finish_non_exhaustive()
    }
}
