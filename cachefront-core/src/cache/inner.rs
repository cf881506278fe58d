//! The parts of a cache, shared by all of its handles and tasks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::task::JoinHandle;

use crate::bus::Hub;
use crate::cache::epochs::Ticket;
use crate::cache::expected_tags::Tags;
use crate::cache::flight::Flights;
use crate::cache::hit::Tier;
use crate::cache::load_gate::LoadGate;
use crate::cache::local::LocalTier;
use crate::cache::merge::Merge;
use crate::cache::observer::{CacheObserver, ReadOutcome};
use crate::cache::shared::SharedTier;
use crate::cache::subscription::Subscription;
use crate::cache::tasks::Tasks;
use crate::clock::{Clock, CoarseClock, Entropy, Timestamp};
use crate::keymap::TableRules;
use crate::loader::DynLoader;
use crate::metrics::CacheMetrics;
use crate::mode::InvalidationMode;
use crate::policy::TtlPolicy;
use crate::settings::CacheSettings;

/// Everything behind a [`Cache`](crate::Cache).
pub(super) struct Inner<K, V> {
    /// The first tier; `None` if the cache has none.
    pub(super) local: Option<LocalTier<K, V>>,
    /// The second tier.
    pub(super) shared: SharedTier<V>,
    /// Loads from the database pass through it.
    pub(super) gate: LoadGate,
    /// Single-flight: the loads in progress.
    pub(super) flights: Arc<Flights<K, V>>,
    /// The loads that wait for others, to be merged with them.
    pub(super) merger: Box<dyn Merge<K, V>>,
    /// What the bus says about this cache.
    pub(super) subscription: Arc<Subscription>,
    /// Follows the bus, for all caches on this store if the store has a hub.
    pub(super) _hub: Arc<Hub>,
    /// The cache's loader; without one only `get_or_load` can load.
    pub(super) loader: Option<Arc<dyn DynLoader<K, V>>>,
    /// Decides how long a loaded value may live.
    pub(super) policy: Arc<dyn TtlPolicy>,
    /// Maps changes to keys of this cache.
    pub(super) rules: Arc<TableRules>,
    pub(super) settings: CacheSettings,
    /// When keys whose load failed may be loaded again; `None` without `stale_if_error`.
    pub(super) failures: Option<quick_cache::sync::Cache<K, Timestamp>>,
    pub(super) clock: Arc<dyn Clock>,
    /// The same clock, as hits in the process-local tier read it.
    pub(super) coarse: CoarseClock,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) metrics: CacheMetrics,
    /// Is notified of reads and loads.
    pub(super) observer: Option<Arc<dyn CacheObserver<K>>>,
    /// The cache's tags; `None` if its values have none.
    pub(super) tags: Option<Tags<K>>,
    /// True once a warning was logged that a value cannot carry its tags.
    pub(super) tags_noted: AtomicBool,
    /// The loads that run apart from their readers.
    pub(super) tasks: Arc<Tasks>,
    /// Keeps the bus followed, and ticks the coarse clock if no thread does. It ends with the last handle.
    pub(super) ticker: Option<JoinHandle<()>>,
}

impl<K, V> Inner<K, V> {
    /// Returns true if reads go to the database without the tiers.
    #[inline]
    pub(super) fn is_bypassed(&self) -> bool {
        self.subscription.is_bypassed()
    }

    /// Returns the ticket, if a value that is read under it may be put into the process-local tier. Must be called after
    /// the ticket was taken.
    pub(super) fn keepable(&self, ticket: Ticket) -> Option<Ticket> {
        let reached = self.shared.mode() == InvalidationMode::Ttl || self.subscription.epochs.is_following();
        (self.local.is_some() && reached).then_some(ticket)
    }
}

impl<K: 'static, V> Inner<K, V> {
    /// Counts the outcome of a read in the tiers, and reports it. Hits in the process-local tier are counted by
    /// [`note_local_hit`](Self::note_local_hit).
    pub(super) fn note_read(&self, key: &K, outcome: ReadOutcome) {
        let metrics = &self.metrics;
        let counted = match outcome {
            ReadOutcome::Hit(Tier::Shared) => Some(&metrics.hit_shared),
            ReadOutcome::Hit(Tier::Local | Tier::Database) => None,
            ReadOutcome::Miss => Some(&metrics.miss),
            ReadOutcome::Unproven => Some(&metrics.unproven),
            ReadOutcome::Outdated => Some(&metrics.outdated),
            ReadOutcome::TagInvalidated => Some(&metrics.tag_invalidated),
            ReadOutcome::Stale => Some(&metrics.stale),
            ReadOutcome::Bypass => Some(&metrics.bypass),
        };
        if let Some(counter) = counted {
            counter.increment(1);
        }
        if let Some(observer) = &self.observer {
            observer.read(key, outcome);
        }
    }
}

impl<K, V> Drop for Inner<K, V> {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
    }
}
