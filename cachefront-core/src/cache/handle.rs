//! The cache handle: what a service holds and reads through.

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use crate::breaker::Breaker;
use crate::bus::{Hub, Listener, Pace};
use crate::cache::expected_tags::{Tags, TagsOf};
use crate::cache::flight::Flights;
use crate::cache::get::Get;
use crate::cache::get_many::GetMany;
use crate::cache::get_or_load::GetOrLoad;
use crate::cache::hit::Hit;
use crate::cache::inner::Inner;
use crate::cache::load_gate::LoadGate;
use crate::cache::local::{Local, LocalTier};
use crate::cache::log_limit::LogLimits;
use crate::cache::merge::Merger;
use crate::cache::mode_switch::ModeSwitch;
use crate::cache::observer::CacheObserver;
use crate::cache::serving::ServingMode;
use crate::cache::shared::SharedTier;
use crate::cache::stale::FAILURES_MAX;
use crate::cache::stats::CacheStats;
use crate::cache::subscription::Subscription;
use crate::cache::tasks::Tasks;
use crate::cache::ticker;
use crate::cache::warm_up::WarmUp;
use crate::clock::{Clock, CoarseClock, Entropy};
use crate::codec::{Codec, Compression};
use crate::error::{BoxError, Result};
use crate::event::TableName;
use crate::key::{CacheKey, StoreKey};
use crate::keymap::{KeyMap, TableRules};
use crate::loader::{DynLoader, LoadCx};
use crate::metrics::CacheMetrics;
use crate::mode::InvalidationMode;
use crate::policy::TtlPolicy;
use crate::settings::{CacheSettings, OnLag};
use crate::store::Store;

/// A read-through cache of `V` by `K`: a cheap handle, meant to be cloned.
///
/// A read checks the process-local tier (if there is one), then the shared store, and else loads from the database under
/// a lease, once for all readers of all processes. See [`Cache::builder`](Cache::builder).
///
/// ```
/// use cachefront::{Cache, Tier, loader_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let users: Cache<u64, String> = Cache::builder("users")
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>((id < 100).then(|| format!("user {id}"))) }))
///     .build()?;
///
/// assert_eq!(users.get(&7).await?.as_deref(), Some("user 7"));
/// assert_eq!(users.get(&7).detailed().await?.tier, Tier::Shared);
/// assert_eq!(users.get_many([7_u64, 500]).await?, [Some("user 7".to_owned()), None]);
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
pub struct Cache<K, V> {
    pub(super) inner: Arc<Inner<K, V>>,
}

/// What a cache is built from.
pub(super) struct Parts<K, V> {
    pub(super) name: Arc<str>,
    pub(super) schema_version: u32,
    pub(super) local: Option<Local>,
    pub(super) store: Arc<dyn Store>,
    pub(super) policy: Arc<dyn TtlPolicy>,
    pub(super) loader: Option<Arc<dyn DynLoader<K, V>>>,
    pub(super) codec: Arc<dyn Codec<V>>,
    pub(super) compression: Option<Compression>,
    pub(super) rules: Arc<TableRules>,
    pub(super) mode: InvalidationMode,
    pub(super) settings: CacheSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) observer: Option<Arc<dyn CacheObserver<K>>>,
    pub(super) tags_of: Option<TagsOf<K>>,
}

impl<K, V> Cache<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the value of `key`, or `None` if the database has no such row. Requirements are set before `.await`:
    /// [`at_least`](Get::at_least), [`max_staleness`](Get::max_staleness), [`detailed`](Get::detailed).
    ///
    /// # Errors
    /// A store that cannot be reached is not an error. If the database had to be read and could not be:
    /// [`Load`](crate::ErrorKind::Load), [`Timeout`](crate::ErrorKind::Timeout) or
    /// [`Overloaded`](crate::ErrorKind::Overloaded). If its value is known not to satisfy
    /// [`at_least`](Get::at_least) or [`max_staleness`](Get::max_staleness): [`Unproven`](crate::ErrorKind::Unproven).
    ///
    /// # Cancel safety
    /// Cancel safe. A load that has begun continues, and its value is stored.
    pub fn get<'a, Q>(&'a self, key: &'a Q) -> Get<'a, K, V, Q>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        Get::new(&self.inner, key)
    }

    /// Returns the values of many keys, in the order of `keys`: one read of the store for all, and one
    /// [`load_many`](crate::Loader::load_many) for those that this call has to load. A key may come several times; it is read
    /// once. Requirements are set before `.await`, as for [`get`](Self::get), and [`per_key`](GetMany::per_key) returns a
    /// result for each key.
    ///
    /// The values are not of one moment, unless [`consistent`](GetMany::consistent) is set: each satisfies the level by itself.
    ///
    /// # Errors
    /// As [`get`](Self::get): the first error of any key.
    ///
    /// # Cancel safety
    /// As [`get`](Self::get).
    pub fn get_many<Q>(&self, keys: impl IntoIterator<Item = Q>) -> GetMany<K, V>
    where
        Q: Borrow<K>,
    {
        let keys = keys.into_iter().map(|key| key.borrow().clone()).collect();
        GetMany::new(Arc::clone(&self.inner), keys)
    }

    /// Loads the values of these keys that are not cached, in batches and at a rate: before a process takes traffic, or after a
    /// flush. It reads like [`get_many`](Self::get_many), under leases and within the bounds of all loads, so a warm-up never
    /// stores an old value, and other processes do not load the same keys at the same time.
    ///
    /// # Errors
    /// If no key of three batches in a row could be loaded: the last error. Other failures are counted in the report.
    ///
    /// # Cancel safety
    /// Cancel safe: what was loaded is cached.
    pub fn warm_up<Q, I>(&self, keys: I) -> WarmUp<'_, K, V, impl Iterator<Item = K> + use<Q, I, K, V>>
    where
        Q: Borrow<K>,
        I: IntoIterator<Item = Q>,
    {
        WarmUp::new(&self.inner, keys.into_iter().map(|key| key.borrow().clone()))
    }

    /// Like [`get`](Self::get), with a loader for this call. The loader runs only if no load of this key is in progress
    /// that this call can join. Requirements are set before `.await`, as for [`get`](Self::get).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// As [`get`](Self::get).
    pub fn get_or_load<'a, Q, F, Fut, E>(&'a self, key: &'a Q, load: F) -> GetOrLoad<'a, K, V, Q, F>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(Arc<LoadCx>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        GetOrLoad::new(&self.inner, key, load)
    }

    /// Returns what a plain read would return now without loading; `None` if it would load. Eviction orders are not
    /// affected.
    ///
    /// # Errors
    /// If the store cannot be read.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn peek(&self, key: &K) -> Result<Option<Hit<V>>> {
        self.inner.peek(key).await
    }

    /// Removes a key from all tiers of all processes. Changes in the database do not need this call; it is for changes that no
    /// log has, and it comes after their commit.
    ///
    /// When it returns, no process reads an older value from the shared store, and no load that began before stores one. The
    /// process-local tiers of other processes follow within the time that a message takes, or are turned off; a cache in TTL mode, or
    /// without `depends_on`, whose process cannot read the bus is cleared when it can again.
    ///
    /// # Errors
    /// If the store or its bus cannot be reached. The key is removed from this process's tier in any case.
    ///
    /// # Cancel safety
    /// Not cancel safe: the key may have been removed from some tiers only.
    pub async fn invalidate<Q>(&self, key: &Q) -> Result<()>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + Sync + ?Sized,
    {
        // A key that is too long to be stored is in no tier.
        match StoreKey::encode_short(&self.inner.shared.cache, &key.to_owned())? {
            Some(key) => self.inner.invalidate(std::slice::from_ref(&key)).await,
            None => Ok(()),
        }
    }

    /// Like [`invalidate`](Self::invalidate), for many keys: in commands and messages of up to
    /// [`keys_per_command_max`](crate::CacheSettings::keys_per_command_max) keys, one after the other.
    ///
    /// ```
    /// # use cachefront::{Cache, loader_fn};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
    /// # let users: Cache<u64, String> = Cache::builder("users")
    /// #     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) }))
    /// #     .build()?;
    /// # users.get_many([7, 8, 9]).await?;
    /// users.invalidate_many([7, 8]).await?;
    /// assert!(users.peek(&7).await?.is_none() && users.peek(&9).await?.is_some());
    /// users.clear().await?;
    /// assert!(users.peek(&9).await?.is_none());
    /// # Ok::<(), cachefront::Error>(())
    /// # }).expect("the example runs");
    /// ```
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate): keys of the first commands may have been removed from the store. All keys are
    /// removed from this process's tier in any case.
    ///
    /// # Cancel safety
    /// As [`invalidate`](Self::invalidate).
    pub async fn invalidate_many<Q>(&self, keys: impl IntoIterator<Item = Q>) -> Result<()>
    where
        Q: Borrow<K>,
    {
        let encode = |key: Q| StoreKey::encode_short(&self.inner.shared.cache, key.borrow()).transpose();
        let keys = keys.into_iter().filter_map(encode).collect::<Result<Vec<_>>>()?;
        self.inner.invalidate(&keys).await
    }

    /// Removes everything in this cache from all tiers of all processes, with the guarantee of
    /// [`invalidate`](Self::invalidate) for each key. Other caches are not affected.
    ///
    /// In CDC mode the cache gets a new generation, which costs the same whatever is in it; the invalidator is not disturbed.
    /// In TTL mode the store removes entry by entry, and has to walk over all of its keys; entries that were stored in the
    /// other mode stay, as they are not served.
    ///
    /// # Errors
    /// If the store or its bus cannot be reached: call it again. In TTL mode also if the store may not list its keys, or needs
    /// too long. This process's tier is cleared in any case.
    ///
    /// # Cancel safety
    /// Not cancel safe: the cache may have been cleared in some tiers or shards only.
    pub async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    /// Returns what the cache did in this process since it was built. Cheap: it reads counters and holds no lock for long.
    pub fn stats(&self) -> CacheStats {
        self.inner.stats()
    }

    /// Sets whether reads go to the database without the tiers; values are then not stored: the serving modes
    /// [`Bypass`](ServingMode::Bypass) and [`Normal`](ServingMode::Normal).
    ///
    /// Default: `false`.
    pub fn set_bypass(&self, bypass: bool) {
        self.set_serving_mode(if bypass { ServingMode::Bypass } else { ServingMode::Normal });
    }

    /// Returns true if reads go to the database without the tiers.
    pub fn is_bypassed(&self) -> bool {
        self.inner.is_bypassed()
    }

    /// Sets by which rule values are kept correct, and flushes the process-local tier. In CDC mode, values that were
    /// stored in TTL mode are not served, and no value is until an invalidator has flushed the store.
    pub fn set_mode(&self, mode: InvalidationMode) {
        let inner = &*self.inner;
        inner.shared.mode.set(mode, || inner.subscription.epochs.invalidate_all());
        inner.subscription.set_mode(inner.shared.mode());
    }

    /// Returns the rule by which values are kept correct.
    pub fn mode(&self) -> InvalidationMode {
        self.inner.shared.mode()
    }

    /// Puts the parts of a cache together, and starts to follow the bus.
    pub(super) fn assemble(parts: Parts<K, V>) -> Self {
        let metrics = CacheMetrics::new(&parts.name);
        let (subscription, hub, ticker) = subscribe(&parts, &metrics);
        let seams = || (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
        let gate = LoadGate::new(Arc::clone(&parts.name), &parts.settings, seams(), metrics.clone());
        let subject = format!("the store of cache `{}`", parts.name);
        let breaker = Breaker::new(subject, parts.settings.store_breaker, seams(), metrics.breaker("store"));
        let tasks = Arc::new(Tasks::new());
        let shared = SharedTier {
            cache: parts.name,
            store: parts.store,
            breaker,
            codec: parts.codec,
            compression: parts.compression,
            encoded_bytes: AtomicUsize::new(0),
            value_bytes_max: parts.settings.value_bytes_max,
            schema_version: parts.schema_version,
            mapping: parts.rules.mapping(),
            tagged: parts.rules.is_tagged(),
            tag_ttl: parts.settings.tag_ttl,
            tag_poll: parts.settings.lease_poll_min,
            declares_replicas: !parts.rules.loads_from().is_empty(),
            mode: ModeSwitch::new(parts.mode),
            fenced: parts.rules.is_fenced(),
            lease: parts.settings.lease,
            fence_wait: parts.settings.fence_wait.min(parts.settings.lease),
            fence_poll_min: parts.settings.lease_poll_min,
            fence_poll_max: parts.settings.lease_poll_max,
            clock_skew: parts.settings.clock_skew,
            stale_while_revalidate: parts.settings.stale_while_revalidate,
            refreshes: parts.settings.refreshes(),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            subscription: Arc::clone(&subscription),
            log_origin: ArcSwap::default(),
            uncovered: AtomicBool::new(false),
            logs: LogLimits::default(),
            metrics: metrics.clone(),
            tasks: Arc::clone(&tasks),
        };
        shared.subscription.set_mode(parts.mode);
        if parts.observer.as_ref().is_some_and(|observer| observer.wants_local_hits()) {
            shared.subscription.watch_local_hits();
        }
        let keeps_stale = !parts.settings.stale_if_error.is_zero();
        let tags = parts.rules.is_tagged().then(|| Tags::new(parts.tags_of));
        let inner = Inner {
            local: parts.local.map(LocalTier::new),
            shared,
            gate,
            flights: Arc::new(Flights::new()),
            merger: Box::new(Merger::new()),
            subscription,
            _hub: hub,
            loader: parts.loader,
            policy: parts.policy,
            rules: parts.rules,
            failures: keeps_stale.then(|| quick_cache::sync::Cache::new(FAILURES_MAX)),
            settings: parts.settings,
            coarse: CoarseClock::new(&parts.clock),
            clock: parts.clock,
            entropy: parts.entropy,
            metrics,
            observer: parts.observer,
            tags,
            tags_noted: AtomicBool::new(false),
            tasks,
            ticker,
        };
        Self { inner: Arc::new(inner) }
    }
}

/// Starts to follow the bus.
fn subscribe<K, V>(
    parts: &Parts<K, V>,
    metrics: &CacheMetrics,
) -> (Arc<Subscription>, Arc<Hub>, Option<JoinHandle<()>>) {
    let covered = (!parts.rules.is_empty()).then(|| parts.rules.mapping());
    let (name, clock) = (Arc::clone(&parts.name), Arc::clone(&parts.clock));
    let subscription = Arc::new(Subscription::new(name, covered, &parts.settings, clock, metrics.clone()));
    let hub = parts.store.hub().map_or_else(Arc::default, Arc::clone);
    if covered.is_some() || parts.local.is_some() {
        let listener: Arc<dyn Listener> = Arc::clone(&subscription) as _;
        hub.join(parts.store.bus(), pace(parts), &listener);
    }
    let ticker = parts.local.is_some().then(|| {
        let (hub, bus, pace) = (Arc::downgrade(&hub), parts.store.bus(), pace(parts));
        let keep_following = move || {
            if let Some(hub) = hub.upgrade() {
                hub.keep_following(|| (Arc::clone(&bus), pace.clone()));
            }
        };
        ticker::start(&subscription, &parts.clock, &parts.settings, keep_following)
    });
    (subscription, hub, ticker)
}

impl<K, V> Cache<K, V> {
    /// Returns the cache's name.
    pub fn name(&self) -> &str {
        &self.inner.shared.cache
    }

    /// Returns the age of the watermark above which plain reads fall back, see
    /// [`CacheBuilder::freshness_objective`](crate::CacheBuilder::freshness_objective). `None` if they never do: the cache
    /// depends on no table, or serves as always ([`OnLag::Serve`](crate::OnLag::Serve)).
    pub fn freshness_objective(&self) -> Option<Duration> {
        let settings = &self.inner.settings;
        let falls_back = settings.on_lag != OnLag::Serve && !self.inner.rules.is_empty();
        falls_back.then_some(settings.freshness_objective)
    }

    /// Returns the store that the cache shares with other processes.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner.shared.store)
    }

    /// Returns true if values of this cache depend on `table` (`database.table`): for imports that the log does not have, after
    /// which every cache that depends on the table is [cleared](Cache::clear).
    pub fn depends_on_table(&self, table: impl Into<TableName>) -> bool {
        self.inner.rules.depends_on(&table.into())
    }

    /// Returns the map from changes to keys: what an invalidator needs of this cache.
    pub fn key_map(&self) -> Arc<dyn KeyMap> {
        Arc::clone(&self.inner.rules) as Arc<dyn KeyMap>
    }
}

/// Returns the timing of the bus follower.
fn pace<K, V>(parts: &Parts<K, V>) -> Pace {
    Pace {
        clock: Arc::clone(&parts.clock),
        entropy: Arc::clone(&parts.entropy),
        pause_min: parts.settings.bus_retry_min,
        pause_max: parts.settings.bus_retry_max,
    }
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.inner.shared.cache)
            .field("store", &self.inner.shared.store)
            .finish_non_exhaustive()
    }
}
