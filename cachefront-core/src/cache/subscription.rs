//! A cache's subscription to the bus: how an invalidation affects the process-local tier, and what the tier may prove.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::bus::Listener;
use crate::cache::epochs::Epochs;
use crate::clock::Timestamp;
use crate::identity::ServerId;
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::metrics::CacheMetrics;
use crate::position::Position;
use crate::store::Meta;

/// What this process has handled of the bus: the proof for values of the process-local tier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handled {
    /// Every invalidation up to here has been handled; `None` if that is in doubt.
    pub(crate) applied: Option<Position>,
    /// When `applied` was the source's end.
    pub(crate) source_time: Timestamp,
}

/// The state that the bus follower writes and readers check.
pub(crate) struct Subscription {
    /// The cache's name.
    cache: Arc<str>,
    /// The cache's mapping; `None` if it depends on no table.
    mapping: Option<MappingId>,
    /// Counts the invalidations of the process-local tier.
    pub(crate) epochs: Epochs,
    /// What was handled of the bus, for proofs.
    pub(crate) handled: ArcSwap<Handled>,
    /// The server that the bus is read from.
    server: AtomicU64,
    metrics: CacheMetrics,
}

impl Subscription {
    /// Creates a subscription that has not started: the tier is off.
    pub(crate) fn new(cache: Arc<str>, mapping: Option<MappingId>, epoch_slots: usize, metrics: CacheMetrics) -> Self {
        let (epochs, handled) = (Epochs::new(epoch_slots), ArcSwap::default());
        metrics.local_on.set(0.0);
        Self { cache, mapping, epochs, handled, server: AtomicU64::new(ServerId::UNKNOWN.0), metrics }
    }

    /// Returns true if a value that was read from, or filled at, this server may be cached in this process.
    ///
    /// It must be the server that the bus is read from, because the invalidations of another one do not arrive there; and
    /// its meta must have applied everything that this process has handled. A server that was demoted while both
    /// connections stayed up takes over an older state from the new primary, and its values lack what was announced
    /// before ("One server").
    pub(crate) fn follows(&self, server: ServerId, meta: Option<&Meta>) -> bool {
        server.is_same(self.server()) && self.has_all_handled(meta)
    }

    /// The server that the bus is read from; unknown while the tier is off.
    fn server(&self) -> ServerId {
        ServerId(self.server.load(Ordering::SeqCst))
    }

    /// Returns true if the meta, read together with a value, has applied everything that this process has handled.
    fn has_all_handled(&self, meta: Option<&Meta>) -> bool {
        let handled = self.handled.load();
        matches!((meta, &handled.applied), (Some(meta), Some(handled)) if meta.applied().covers(handled))
    }
}

impl Listener for Subscription {
    fn cache(&self) -> &str {
        &self.cache
    }

    fn mapping(&self) -> Option<MappingId> {
        self.mapping
    }

    fn is_started(&self) -> bool {
        self.epochs.is_following()
    }

    fn start(&self, server: ServerId) {
        self.handled.store(Arc::default());
        self.server.store(server.0, Ordering::SeqCst);
        self.epochs.start_following();
        self.metrics.local_on.set(1.0);
    }

    fn stop(&self, reason: &'static str) {
        self.epochs.stop_following();
        self.server.store(ServerId::UNKNOWN.0, Ordering::SeqCst);
        self.handled.store(Arc::default());
        self.metrics.local_on.set(0.0);
        self.metrics.local_reset(reason);
        tracing::debug!(cache = %self.cache, reason, "the process-local tier is off and cleared");
    }

    fn invalidate(&self, key: &StoreKey) {
        self.epochs.invalidate(key);
    }

    fn invalidate_all(&self) {
        self.epochs.invalidate_all();
    }

    fn handled(&self, applied: &Position, source_time: Timestamp) {
        self.handled.store(Arc::new(Handled { applied: Some(applied.clone()), source_time }));
    }

    fn delayed(&self, delay: Duration) {
        self.metrics.bus_seconds.record(delay.as_secs_f64());
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("cache", &self.cache)
            .field("mapping", &self.mapping)
            .finish_non_exhaustive()
    }
}
