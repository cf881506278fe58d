//! A cache's side of the bus: what an invalidation does to this process's own tier, and what the tier may prove.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::bus::Listener;
use crate::cache::epochs::Epochs;
use crate::clock::Timestamp;
use crate::key::StoreKey;
use crate::metrics::CacheMetrics;
use crate::position::Position;
use crate::store::{MappingId, ServerId};

/// What this process has handled of the bus: it proves values of the process-local tier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handled {
    /// Every invalidation up to here has been handled; `None` if that is in doubt.
    pub(crate) applied: Option<Position>,
    /// When `applied` was the source's end.
    pub(crate) source_time: Timestamp,
}

/// What the follower of the bus changes, and readers look at.
pub(crate) struct Side {
    cache: Arc<str>,
    mapping: Option<MappingId>,
    pub(crate) epochs: Epochs,
    pub(crate) handled: ArcSwap<Handled>,
    /// The server that the bus is read from.
    server: AtomicU64,
    metrics: CacheMetrics,
}

impl Side {
    pub(crate) fn new(cache: Arc<str>, mapping: Option<MappingId>, epoch_slots: usize, metrics: CacheMetrics) -> Self {
        let (epochs, handled) = (Epochs::new(epoch_slots), ArcSwap::default());
        metrics.local_on.set(0.0);
        Self { cache, mapping, epochs, handled, server: AtomicU64::new(ServerId::UNKNOWN.0), metrics }
    }

    /// The server that the bus is read from; unknown while the tier is off.
    pub(crate) fn server(&self) -> ServerId {
        ServerId(self.server.load(Ordering::SeqCst))
    }
}

impl Listener for Side {
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

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side").field("cache", &self.cache).field("mapping", &self.mapping).finish_non_exhaustive()
    }
}
