//! The process-local tier: bounded by weight, invalidated by epochs, its times to live checked with a coarse clock.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache as Map;
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, Weighter};

use crate::cache::epochs::{Epochs, TagTickets, Ticket};
use crate::cache::explanation::LocalValue;
use crate::cache::hit::age;
use crate::clock::Timestamp;

/// Weight of an entry in addition to its key and encoded value, in bytes: the map's slot and the bookkeeping.
const OVERHEAD_BYTES: u64 = 128;

/// Assumed weight of an entry, for the map's initial capacity; the map grows as needed.
const TYPICAL_BYTES: u64 = 256;

/// Configuration of the process-local tier; see [`CacheBuilder::local`](crate::CacheBuilder::local).
///
/// ```
/// use std::time::Duration;
/// use cachefront::Local;
///
/// let local = Local::max_weight(64 << 20).ttl(Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Local {
    pub(crate) max_weight: u64,
    pub(crate) ttl: Duration,
}

impl Local {
    /// Bounds the tier to `bytes`. An entry weighs its encoded value, its key and 128 bytes.
    pub const fn max_weight(bytes: u64) -> Self {
        Self { max_weight: bytes, ttl: Duration::from_secs(30) }
    }

    /// Sets how long a value is served from this tier, never longer than the value's own time to live. Default: 30 s.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }
}

/// A value in the tier. It is copied out on every hit, so everything in it but the value is cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LocalEntry<V> {
    /// `None` if the database has no such row.
    pub(crate) value: Option<V>,
    ticket: Ticket,
    /// The tickets of its tags' markers; `None` if it has no tags.
    tags: Option<TagTickets>,
    /// When it stops being served.
    expires_at: Millis,
    /// The clock before the value's load.
    filled_at: Millis,
    /// Size of key and encoded value, in bytes.
    weight: u32,
}

/// A time in whole milliseconds since the Unix epoch, in six bytes. The rest of the millisecond is dropped: a value counts as
/// older, and expires earlier.
#[derive(Clone, Copy, Debug)]
struct Millis([u16; 3]);

impl Millis {
    const MAX: u64 = (1 << 48) - 1;

    fn new(time: Timestamp) -> Self {
        let millis = time.as_millis().min(Self::MAX);
        Self([(millis >> 32) as u16, (millis >> 16) as u16, millis as u16])
    }

    #[inline]
    fn get(self) -> Timestamp {
        let [high, middle, low] = self.0.map(u64::from);
        Timestamp::from_micros((high << 32 | middle << 16 | low) * 1_000)
    }
}

#[derive(Clone, Copy, Debug)]
struct ByWeight;

impl<K, V> Weighter<K, LocalEntry<V>> for ByWeight {
    fn weight(&self, _key: &K, entry: &LocalEntry<V>) -> u64 {
        u64::from(entry.weight) + OVERHEAD_BYTES
    }
}

/// Counts evictions. Evicted entries are dropped after the map's lock is released.
#[derive(Clone, Debug, Default)]
struct Evictions(Arc<AtomicU64>);

impl<K, V> Lifecycle<K, LocalEntry<V>> for Evictions {
    type RequestState = Vec<(K, LocalEntry<V>)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: K, entry: LocalEntry<V>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        evicted.push((key, entry));
    }
}

/// The tier itself.
#[derive(Debug)]
pub(crate) struct LocalTier<K, V> {
    /// The entries, evicted by weight.
    map: Map<K, LocalEntry<V>, ByWeight, DefaultHashBuilder, Evictions>,
    evictions: Evictions,
    /// Maximum time that a value is served from this tier.
    ttl: Duration,
}

impl<K: Hash + Eq, V: Clone> LocalTier<K, V> {
    /// Creates an empty tier.
    pub(crate) fn new(local: Local) -> Self {
        let items = usize::try_from(local.max_weight / TYPICAL_BYTES).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        let evictions = Evictions::default();
        let map = Map::with(items, local.max_weight, ByWeight, DefaultHashBuilder::default(), evictions.clone());
        Self { map, evictions, ttl: local.ttl }
    }

    /// Returns the value of `key`, unless it was invalidated since it was read or has expired.
    #[inline(always)]
    pub(crate) fn value<Q>(&self, key: &Q, epochs: &Epochs, now: Timestamp) -> Option<Option<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        // Not `filter`, which copies the entry once more.
        let entry = self.map.get(key)?;
        if entry.serves(epochs, now) { Some(entry.value) } else { None }
    }

    /// Like [`value`](Self::value), with everything that is known about the value.
    pub(crate) fn get<Q>(&self, key: &Q, epochs: &Epochs, now: Timestamp) -> Option<LocalEntry<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.map.get(key).filter(|entry| entry.serves(epochs, now))
    }

    /// Like [`get`](Self::get), but does not change the eviction order.
    pub(crate) fn peek<Q>(&self, key: &Q, epochs: &Epochs, now: Timestamp) -> Option<LocalEntry<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.map.peek(key).filter(|entry| entry.serves(epochs, now))
    }

    /// Returns the last value of `key` in this tier and the time before its load, also if it was invalidated or has expired.
    pub(crate) fn last(&self, key: &K) -> Option<(Option<V>, Timestamp)> {
        let entry = self.map.peek(key)?;
        let filled_at = entry.filled_at();
        Some((entry.value, filled_at))
    }

    /// Explains what the tier has for `key`, also if it is no longer served.
    pub(crate) fn explain(&self, key: &K, epochs: &Epochs, now: Timestamp) -> Option<LocalValue> {
        self.map.peek(key).map(|entry| LocalValue {
            invalidated: !entry.is_valid(epochs),
            expired: now >= entry.expires_at(),
            age: age(entry.filled_at(), now),
            ttl: entry.expires_at().since(now),
        })
    }

    /// Returns the number of entries, their weight in bytes, and the number of evictions so far.
    pub(crate) fn usage(&self) -> (u64, u64, u64) {
        (self.map.len() as u64, self.map.weight(), self.evictions.0.load(Ordering::Relaxed))
    }

    /// Inserts a value that was read after its ticket was taken.
    pub(crate) fn insert(&self, key: K, value: Option<V>, facts: &Insertion) {
        let expires_at = facts.now.after(self.ttl).min(facts.expires_at);
        let weight = u32::try_from(facts.weight).unwrap_or(u32::MAX);
        self.map.insert(
            key,
            LocalEntry {
                value,
                ticket: facts.ticket,
                tags: facts.tags.clone(),
                expires_at: Millis::new(expires_at),
                filled_at: Millis::new(facts.filled_at),
                weight,
            },
        );
    }
}

/// The facts about a value that is inserted into the tier.
#[derive(Clone, Debug)]
pub(crate) struct Insertion {
    /// Taken before the value was read.
    pub(crate) ticket: Ticket,
    /// Those of its tags, taken before their markers were read; `None` if it has no tags.
    pub(crate) tags: Option<TagTickets>,
    /// The clock when the value is inserted.
    pub(crate) now: Timestamp,
    /// The clock before the value's load.
    pub(crate) filled_at: Timestamp,
    /// When the value's own time to live ends.
    pub(crate) expires_at: Timestamp,
    /// Bytes of key and encoded value.
    pub(crate) weight: usize,
}

impl<V> LocalEntry<V> {
    /// Returns true if the entry is neither invalidated nor expired.
    #[inline]
    fn serves(&self, epochs: &Epochs, now: Timestamp) -> bool {
        self.is_valid(epochs) && now < self.expires_at()
    }

    /// Returns when the value stops being served.
    #[inline]
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.expires_at.get()
    }

    /// Returns the clock before the value's load.
    pub(crate) fn filled_at(&self) -> Timestamp {
        self.filled_at.get()
    }

    /// Returns true if nothing has invalidated the entry.
    #[inline]
    fn is_valid(&self, epochs: &Epochs) -> bool {
        epochs.holds(self.ticket)
            && self.tags.as_ref().is_none_or(|tags| tags.iter().all(|ticket| epochs.holds(*ticket)))
    }
}
