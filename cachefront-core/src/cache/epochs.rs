//! Epochs: how an invalidation takes effect in this process, without a lock and without a list of affected readers.
//!
//! Every key belongs to one of many slots, by its hash. A slot counts the invalidations of its keys. A reader takes the
//! count (a ticket) before it reads; the value is valid while the count is unchanged. So an invalidation costs one
//! addition, never waits for a load, and cannot be missed by a value that is inserted late: a late value carries an old
//! count. Two keys in one slot are invalidated together, which costs one extra load.
//!
//! ```text
//! reader                       slot 17    invalidation of the key
//! takes ticket (17, 41)          41
//! reads v0 from the store        41
//!                                42       adds 1
//! inserts v0 with (17, 41)       42
//! next read: 41 is not 42, so v0 is not served
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::key::StoreKey;
use crate::settings::EPOCH_SLOTS_MAX;

/// Bits of a ticket that name the slot. The other 44 count: at a million invalidations of one slot in a second they begin again
/// after 200 days, and a value is served for its time to live.
const SLOT_BITS: u32 = EPOCH_SLOTS_MAX.trailing_zeros();

/// The counters of one cache in one process.
#[derive(Debug)]
pub(crate) struct Epochs {
    /// For each slot, the ticket that holds now.
    slots: Box<[AtomicU64]>,
    /// False while bus messages may have been lost: no value is then put into the process-local tier.
    following: AtomicBool,
}

/// The count of a key's slot when a read began, above the number of the slot: one word, because each value in the process-local
/// tier has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The tickets of a value's tags, behind one thin pointer: most values have none, and every entry has room for it.
pub(crate) type TagTickets = Arc<Box<[Ticket]>>;

impl Epochs {
    /// Creates the counters; `slots` is a power of two, and at most [`EPOCH_SLOTS_MAX`].
    pub(crate) fn new(slots: usize) -> Self {
        let slots = (0..slots as u64).map(AtomicU64::new).collect();
        Self { slots, following: AtomicBool::new(false) }
    }

    /// Returns the current count for `key`. Must be called before the first byte is read.
    pub(crate) fn ticket(&self, key: &StoreKey) -> Ticket {
        Ticket(self.current(self.slot(key.hash())))
    }

    /// Returns true while no invalidation has happened since the ticket was taken.
    #[inline]
    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        self.current((ticket.0 % EPOCH_SLOTS_MAX as u64) as usize) == ticket.0
    }

    /// Invalidates every value of this key that was read or is being read.
    pub(crate) fn invalidate(&self, key: &StoreKey) {
        self.invalidate_hash(key.hash());
    }

    /// The same for the key with this hash.
    pub(crate) fn invalidate_hash(&self, hash: u64) {
        if let Some(slot) = self.slots.get(self.slot(hash)) {
            slot.fetch_add(1 << SLOT_BITS, Ordering::SeqCst);
        }
    }

    /// Invalidates every value of every key.
    pub(crate) fn invalidate_all(&self) {
        for slot in &self.slots {
            slot.fetch_add(1 << SLOT_BITS, Ordering::SeqCst);
        }
    }

    /// Invalidates every value and refuses new ones, because messages may have been lost.
    pub(crate) fn stop_following(&self) {
        // The order matters: a reader that takes a ticket after the second line sees the first.
        self.following.store(false, Ordering::SeqCst);
        self.invalidate_all();
    }

    /// Starts to accept values: the bus is followed from here on.
    pub(crate) fn start_following(&self) {
        self.invalidate_all();
        self.following.store(true, Ordering::SeqCst);
    }

    /// Returns true while every invalidation reaches this process.
    pub(crate) fn is_following(&self) -> bool {
        self.following.load(Ordering::SeqCst)
    }

    /// Returns the slot of a key.
    fn slot(&self, hash: u64) -> usize {
        // The lower half of the hash; the upper half selects the store's shard.
        hash as u32 as usize & self.slots.len().wrapping_sub(1)
    }

    /// Returns the ticket of a slot that holds now.
    #[inline]
    fn current(&self, slot: usize) -> u64 {
        self.slots.get(slot).map_or(u64::MAX, |ticket| ticket.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u64) -> StoreKey {
        StoreKey::encode("users", &id).expect("a key")
    }

    #[test]
    fn an_invalidation_ends_the_tickets_of_its_key_only() {
        let epochs = Epochs::new(1 << 16);
        let (one, two) = (epochs.ticket(&key(1)), epochs.ticket(&key(2)));
        epochs.invalidate(&key(1));
        assert!(!epochs.holds(one));
        assert!(epochs.holds(two));
        assert!(epochs.holds(epochs.ticket(&key(1))));
        epochs.invalidate_all();
        assert!(!epochs.holds(two));
    }

    #[test]
    fn a_ticket_taken_in_doubt_is_invalid_after_the_doubt() {
        let epochs = Epochs::new(16);
        epochs.stop_following();
        let ticket = epochs.ticket(&key(1));
        assert!(!epochs.is_following());
        epochs.start_following();
        assert!(!epochs.holds(ticket));
    }
}
