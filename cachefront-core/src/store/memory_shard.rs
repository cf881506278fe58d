//! One shard of the in-memory store: a meta, a bounded map of entries, and their eviction order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::entry::Fixed;
use crate::identity::Token;
use crate::key::StoreKey;
use crate::store::meta::Meta;
use crate::store::transition::{Change, Slot};

/// Approximate cost of an entry in addition to its bytes and its key's text: the records of the map and the queue.
const ENTRY_OVERHEAD_BYTES: usize = 160;

/// The capacity of a shard, in entries and bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) meta: Option<Arc<Meta>>,
    entries: HashMap<StoreKey, Cached>,
    /// Keys in insertion order; a record whose stamp is not that of its entry is obsolete.
    queue: VecDeque<(StoreKey, u64)>,
    bounds: Bounds,
    bytes: usize,
    stamps: u64,
    /// Wakes those that wait for a change of any entry.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Cached {
    slot: Slot,
    stamp: u64,
    /// True if the entry was read since the queue last reached it: it then gets another round.
    used: bool,
}

impl Shard {
    pub(super) fn new(bounds: Bounds) -> Self {
        let changed = watch::Sender::new(());
        Self { meta: None, entries: HashMap::new(), queue: VecDeque::new(), bounds, bytes: 0, stamps: 0, changed }
    }

    /// Returns the entry's bytes for a reader, and marks the entry as used.
    pub(super) fn read(&mut self, key: &StoreKey, now: Timestamp) -> Option<Bytes> {
        let cached = self.entries.get_mut(key).filter(|cached| now < cached.slot.expires)?;
        cached.used = true;
        Some(cached.slot.bytes.clone())
    }

    /// Returns the slot for a transition or a peek; does not mark the entry as used.
    pub(super) fn slot(&self, key: &StoreKey, now: Timestamp) -> Option<&Slot> {
        self.entries.get(key).map(|cached| &cached.slot).filter(|slot| now < slot.expires)
    }

    /// Returns the token of a key's lease; `None` if it has none.
    pub(super) fn token(&self, key: &StoreKey, now: Timestamp) -> Option<Token> {
        Fixed::decode(&self.slot(key, now)?.bytes).ok()?.token()
    }

    /// Returns a receiver that is notified of every later change of an entry or of the meta.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Replaces the meta.
    pub(super) fn set_meta(&mut self, meta: Option<Meta>) {
        self.meta = meta.map(Arc::new);
        self.announce();
    }

    fn announce(&self) {
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
    }

    /// Returns the keys of the entries that have not expired.
    pub(super) fn keys(&self, now: Timestamp) -> impl Iterator<Item = &StoreKey> {
        self.entries.iter().filter(move |(_, cached)| now < cached.slot.expires).map(|(key, _)| key)
    }

    /// Applies the effect of a transition to a slot.
    pub(super) fn apply(&mut self, key: &StoreKey, change: Change, now: Timestamp) {
        match change {
            Change::Keep => {}
            Change::Remove => self.remove(key),
            Change::Put(slot) => {
                self.put(key, slot);
                self.evict(now);
            }
        }
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, key: &StoreKey) {
        if let Some(cached) = self.entries.remove(key) {
            self.bytes -= weight(key, &cached.slot);
            self.drop_obsolete();
            self.announce();
        }
    }

    /// Removes all entries of a cache.
    pub(super) fn remove_cache(&mut self, cache: &str) {
        let is_of_cache = |key: &&StoreKey| key.as_str().split_once(':').is_some_and(|(name, _)| name == cache);
        let keys: Vec<StoreKey> = self.entries.keys().filter(is_of_cache).cloned().collect();
        keys.iter().for_each(|key| self.remove(key));
    }

    /// Removes the meta and all entries.
    pub(super) fn clear(&mut self) {
        self.meta = None;
        self.entries.clear();
        self.queue.clear();
        self.bytes = 0;
        self.announce();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Inserts or replaces an entry. A replaced entry keeps its place in the queue.
    fn put(&mut self, key: &StoreKey, slot: Slot) {
        self.bytes += weight(key, &slot);
        self.announce();
        if let Some(cached) = self.entries.get_mut(key) {
            self.bytes -= weight(key, &cached.slot);
            cached.slot = slot;
            return;
        }
        self.stamps += 1;
        self.queue.push_back((key.clone(), self.stamps));
        self.entries.insert(key.clone(), Cached { slot, stamp: self.stamps, used: false });
    }

    /// Second chance: evicts the oldest entry, unless it was read since the queue last reached it. An entry that is larger
    /// than the shard's capacity is evicted too.
    fn evict(&mut self, now: Timestamp) {
        while self.entries.len() > self.bounds.entries_max || self.bytes > self.bounds.bytes_max {
            let Some((key, stamp)) = self.queue.pop_front() else {
                return;
            };
            let Some(cached) = self.entries.get_mut(&key).filter(|cached| cached.stamp == stamp) else {
                continue;
            };
            if cached.used && now < cached.slot.expires {
                cached.used = false;
                self.queue.push_back((key, stamp));
                continue;
            }
            self.bytes -= weight(&key, &cached.slot);
            self.entries.remove(&key);
        }
    }

    /// Removed keys leave their record in the queue. The queue is swept when half of it is obsolete, so a removal costs
    /// O(1).
    fn drop_obsolete(&mut self) {
        if self.queue.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.queue.retain(|(key, stamp)| entries.get(key).is_some_and(|cached| cached.stamp == *stamp));
        }
    }
}

/// Returns the size of an entry in bytes, as it counts towards the bound.
fn weight(key: &StoreKey, slot: &Slot) -> usize {
    key.as_str().len() + slot.bytes.len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000);

    fn key(number: usize) -> StoreKey {
        StoreKey::encode("users", &number).expect("a key")
    }

    fn put(shard: &mut Shard, number: usize, bytes: usize) {
        let slot = Slot { bytes: vec![0; bytes].into(), expires: Timestamp::from_micros(2_000) };
        shard.apply(&key(number), Change::Put(slot), NOW);
    }

    #[test]
    fn the_oldest_unread_entry_is_evicted() {
        let mut shard = Shard::new(Bounds { entries_max: 3, bytes_max: 1 << 20 });
        for number in 0..3 {
            put(&mut shard, number, 10);
        }
        assert!(shard.read(&key(0), NOW).is_some());
        put(&mut shard, 3, 10);
        assert!(shard.read(&key(0), NOW).is_some(), "it was read");
        assert!(shard.read(&key(1), NOW).is_none(), "it was the oldest that was not");
        assert_eq!(shard.len(), 3);
    }

    #[test]
    fn a_peek_does_not_protect_an_entry_from_eviction() {
        let mut shard = Shard::new(Bounds { entries_max: 3, bytes_max: 1 << 20 });
        for number in 0..3 {
            put(&mut shard, number, 10);
        }
        assert!(shard.slot(&key(0), NOW).is_some());
        put(&mut shard, 3, 10);
        assert!(shard.slot(&key(0), NOW).is_none(), "it was the oldest, and only peeked at");
    }

    #[test]
    fn bytes_are_bounded_and_freed() {
        let mut shard = Shard::new(Bounds { entries_max: 1_000, bytes_max: 10_000 });
        for number in 0..1_000 {
            put(&mut shard, number, 500);
            assert!(shard.bytes() <= 10_000);
        }
        put(&mut shard, 5_000, 20_000);
        assert!(shard.read(&key(5_000), NOW).is_none(), "larger than the shard");
        for number in 0..1_000 {
            shard.remove(&key(number));
        }
        assert_eq!((shard.len(), shard.bytes()), (0, 0));
    }

    #[test]
    fn removals_do_not_grow_the_queue() {
        let mut shard = Shard::new(Bounds { entries_max: 1_000, bytes_max: 1 << 20 });
        for number in 0..10_000 {
            put(&mut shard, number, 1);
            shard.remove(&key(number));
        }
        assert!(shard.queue.len() <= 65, "{}", shard.queue.len());
    }

    #[test]
    fn an_expired_entry_is_not_returned() {
        let mut shard = Shard::new(Bounds { entries_max: 8, bytes_max: 1 << 20 });
        put(&mut shard, 1, 1);
        let later = Timestamp::from_micros(2_000);
        assert!(shard.slot(&key(1), NOW).is_some());
        assert!(shard.slot(&key(1), later).is_none());
        assert!(shard.read(&key(1), later).is_none());
    }
}
