//! The process-local tier: bounded, invalidated by epochs, its times to live kept by a coarse clock.

use std::hash::Hash;
use std::time::Duration;

use quick_cache::sync::Cache as Map;
use quick_cache::{DefaultHashBuilder, Equivalent, Weighter};

use crate::cache::epochs::{Epochs, Ticket};
use crate::clock::Timestamp;

/// What an entry of the tier weighs beside its key and encoded value, in bytes: the map's slot and the bookkeeping.
const OVERHEAD_BYTES: u64 = 128;

/// The assumed weight of an entry, from which the map's size at the start is guessed; it grows by itself.
const TYPICAL_BYTES: u64 = 256;

/// How the process-local tier is built.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Local {
    pub(crate) max_weight: u64,
    pub(crate) ttl: Duration,
}

impl Local {
    /// A tier of at most `bytes`: an entry weighs its encoded value, its key and 128 bytes.
    ///
    /// Default for the time to live: 30 s.
    pub const fn max_weight(bytes: u64) -> Self {
        Self { max_weight: bytes, ttl: Duration::from_secs(30) }
    }

    /// How long a value is served from this tier; never longer than the value's own time. Default: 30 s.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }
}

/// A value in the tier. Copied out on every hit, so it holds nothing that is dear to clone beside the value.
#[derive(Clone, Debug)]
pub(crate) struct LocalEntry<V> {
    /// None: the database has no such row.
    pub(crate) value: Option<V>,
    ticket: Ticket,
    /// The last moment it is served.
    pub(crate) expires_at: Timestamp,
    /// The clock before the load that made it.
    pub(crate) filled_at: Timestamp,
    weight: u32,
}

#[derive(Clone, Copy, Debug)]
struct ByWeight;

impl<K, V> Weighter<K, LocalEntry<V>> for ByWeight {
    fn weight(&self, _key: &K, entry: &LocalEntry<V>) -> u64 {
        u64::from(entry.weight) + OVERHEAD_BYTES
    }
}

/// The tier itself.
#[derive(Debug)]
pub(crate) struct LocalTier<K, V> {
    map: Map<K, LocalEntry<V>, ByWeight, DefaultHashBuilder>,
    ttl: Duration,
}

impl<K: Hash + Eq, V: Clone> LocalTier<K, V> {
    pub(crate) fn new(local: Local) -> Self {
        let items = usize::try_from(local.max_weight / TYPICAL_BYTES).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        let map = Map::with(items, local.max_weight, ByWeight, DefaultHashBuilder::default(), Default::default());
        Self { map, ttl: local.ttl }
    }

    /// The value of `key`, if no invalidation came since it was read and its time is not over.
    #[inline]
    pub(crate) fn get<Q>(&self, key: &Q, epochs: &Epochs, now: Timestamp) -> Option<LocalEntry<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.map.get(key).filter(|entry| entry.serves(epochs, now))
    }

    /// As [`get`](Self::get), without a trace in the eviction order.
    pub(crate) fn peek<Q>(&self, key: &Q, epochs: &Epochs, now: Timestamp) -> Option<LocalEntry<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.map.peek(key).filter(|entry| entry.serves(epochs, now))
    }

    /// Puts a value away that was read after `ticket` was taken.
    pub(crate) fn insert(&self, key: K, value: Option<V>, found: &Found) {
        let expires_at = found.now.after(self.ttl).min(found.expires_at);
        let weight = u32::try_from(found.weight).unwrap_or(u32::MAX);
        self.map
            .insert(key, LocalEntry { value, ticket: found.ticket, expires_at, filled_at: found.filled_at, weight });
    }
}

/// What is known about a value that goes into the tier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Taken before the value was read.
    pub(crate) ticket: Ticket,
    pub(crate) now: Timestamp,
    pub(crate) filled_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// Bytes of key and encoded value.
    pub(crate) weight: usize,
}

impl<V> LocalEntry<V> {
    #[inline]
    fn serves(&self, epochs: &Epochs, now: Timestamp) -> bool {
        epochs.holds(self.ticket) && now < self.expires_at
    }
}
