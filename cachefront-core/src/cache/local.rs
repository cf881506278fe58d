//! The process-local tier: bounded by weight, invalidated by epochs, its times to live checked with a coarse clock.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
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
    /// Bounds the tier to `bytes`, above zero. An entry weighs its encoded value, its key and 128 bytes.
    pub const fn max_weight(bytes: u64) -> Self {
        Self { max_weight: bytes, ttl: Duration::from_secs(30) }
    }

    /// Sets how long a value is served from this tier, never longer than the value's own time to live; above zero. Default: 30 s.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }
}

/// A value of the tier, with what is known about it.
#[derive(Clone, Debug)]
pub(crate) struct LocalEntry<V> {
    /// `None` if the database has no such row.
    pub(crate) value: Option<V>,
    /// The clock before the value's load.
    pub(crate) filled_at: Timestamp,
    /// When it stops being served.
    pub(crate) expires_at: Timestamp,
}

/// What a value is stored under: its key, and the facts that decide whether it is served. A lookup compares them where they are,
/// under the map's lock, so a hit copies the value and nothing else. Equal by its key alone.
#[derive(Clone, Debug)]
struct Place<K> {
    key: K,
    facts: Facts,
}

impl<K: PartialEq> PartialEq for Place<K> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<K: Eq> Eq for Place<K> {}

impl<K: Hash> Hash for Place<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// What decides whether a value is served.
#[derive(Clone, Debug)]
struct Facts {
    ticket: Ticket,
    /// The tickets of its tags' markers; `None` if it has no tags.
    tags: Option<TagTickets>,
    /// When it stops being served, and the upper half of the weight.
    expires_at: Millis,
    /// The clock before the value's load, and the lower half of the weight.
    filled_at: Millis,
}

/// A key to look up, whose value is found only if its facts are accepted.
struct Wanted<'a, Q: ?Sized, F> {
    key: &'a Q,
    accepts: F,
}

impl<Q: Hash + ?Sized, F> Hash for Wanted<'_, Q, F> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl<K, Q, F> Equivalent<Place<K>> for Wanted<'_, Q, F>
where
    Q: Equivalent<K> + ?Sized,
    F: Fn(&Facts) -> bool,
{
    #[inline]
    fn equivalent(&self, place: &Place<K>) -> bool {
        self.key.equivalent(&place.key) && (self.accepts)(&place.facts)
    }
}

/// A time in whole milliseconds since the Unix epoch, in the upper 48 bits of a word; the lower 16 are for something else. The rest
/// of the millisecond is dropped: a value counts as older, and expires earlier.
#[derive(Clone, Copy, Debug)]
struct Millis(u64);

impl Millis {
    const MAX: u64 = (1 << 48) - 1;

    fn new(time: Timestamp, other: u16) -> Self {
        Self(time.as_millis().min(Self::MAX) << 16 | u64::from(other))
    }

    #[inline]
    fn get(self) -> Timestamp {
        Timestamp::from_micros((self.0 >> 16) * 1_000)
    }

    fn other(self) -> u16 {
        self.0 as u16
    }
}

#[derive(Clone, Copy, Debug)]
struct ByWeight;

impl<K, V> Weighter<Place<K>, Option<V>> for ByWeight {
    fn weight(&self, place: &Place<K>, _value: &Option<V>) -> u64 {
        place.facts.weight() + OVERHEAD_BYTES
    }
}

/// Counts evictions. Evicted entries are dropped after the map's lock is released.
#[derive(Clone, Debug, Default)]
struct Evictions(Arc<AtomicU64>);

impl<K, V> Lifecycle<Place<K>, Option<V>> for Evictions {
    type RequestState = Vec<(Place<K>, Option<V>)>;

    fn on_evict(&self, evicted: &mut Self::RequestState, place: Place<K>, value: Option<V>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        evicted.push((place, value));
    }
}

/// The tier itself.
#[derive(Debug)]
pub(crate) struct LocalTier<K, V> {
    /// The entries, evicted by weight.
    map: Map<Place<K>, Option<V>, ByWeight, DefaultHashBuilder, Evictions>,
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
        self.map.get(&Wanted { key, accepts: |facts: &Facts| facts.serves(epochs, now) })
    }

    /// Like [`value`](Self::value), with everything that is known about the value.
    pub(crate) fn get<Q>(&self, key: &Q, epochs: &Epochs, now: Timestamp) -> Option<LocalEntry<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        noting(key, |facts| facts.serves(epochs, now), |wanted| self.map.get(wanted))
    }

    /// Like [`get`](Self::get), but does not change the eviction order.
    pub(crate) fn peek<Q>(&self, key: &Q, epochs: &Epochs, now: Timestamp) -> Option<LocalEntry<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        noting(key, |facts| facts.serves(epochs, now), |wanted| self.map.peek(wanted))
    }

    /// Returns the last value of `key` in this tier and the time before its load, also if it was invalidated or has expired.
    pub(crate) fn last(&self, key: &K) -> Option<(Option<V>, Timestamp)> {
        let entry = noting(key, |_| true, |wanted| self.map.peek(wanted))?;
        Some((entry.value, entry.filled_at))
    }

    /// Explains what the tier has for `key`, also if it is no longer served.
    pub(crate) fn explain(&self, key: &K, epochs: &Epochs, now: Timestamp) -> Option<LocalValue> {
        let valid = Cell::new(false);
        let accepts = |facts: &Facts| {
            valid.set(facts.is_valid(epochs));
            true
        };
        noting(key, accepts, |wanted| self.map.peek(wanted)).map(|entry| LocalValue {
            invalidated: !valid.get(),
            expired: now >= entry.expires_at,
            age: age(entry.filled_at, now),
            ttl: entry.expires_at.since(now),
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
        let facts = Facts {
            ticket: facts.ticket,
            tags: facts.tags.clone(),
            expires_at: Millis::new(expires_at, (weight >> 16) as u16),
            filled_at: Millis::new(facts.filled_at, weight as u16),
        };
        self.map.insert(Place { key, facts }, value);
    }
}

/// Looks up a value with this function, and returns it with its times.
fn noting<Q: ?Sized, V>(
    key: &Q,
    accepts: impl Fn(&Facts) -> bool,
    look_up: impl FnOnce(&Wanted<'_, Q, &dyn Fn(&Facts) -> bool>) -> Option<Option<V>>,
) -> Option<LocalEntry<V>> {
    let times = Cell::new((Timestamp::UNKNOWN, Timestamp::UNKNOWN));
    let note = |facts: &Facts| {
        times.set((facts.filled_at.get(), facts.expires_at.get()));
        accepts(facts)
    };
    let value = look_up(&Wanted { key, accepts: &note })?;
    let (filled_at, expires_at) = times.get();
    Some(LocalEntry { value, filled_at, expires_at })
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

impl Facts {
    /// Returns the size of key and encoded value, in bytes.
    fn weight(&self) -> u64 {
        u64::from(self.expires_at.other()) << 16 | u64::from(self.filled_at.other())
    }

    /// Returns true if the value is neither invalidated nor expired.
    #[inline]
    fn serves(&self, epochs: &Epochs, now: Timestamp) -> bool {
        self.is_valid(epochs) && now < self.expires_at.get()
    }

    /// Returns true if nothing has invalidated the value.
    #[inline]
    fn is_valid(&self, epochs: &Epochs) -> bool {
        epochs.holds(self.ticket)
            && self.tags.as_ref().is_none_or(|tags| tags.iter().all(|ticket| epochs.holds(*ticket)))
    }
}
