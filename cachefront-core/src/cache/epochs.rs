//! Epochs: what an invalidation changes in this process, without a lock and without knowing who is affected.
//!
//! Every key belongs to one of many slots, by its hash. A slot counts the invalidations of its keys. Whoever is about to
//! read takes the count first; what was read is good for as long as the count stands. So an invalidation costs one
//! addition, never waits for a load, and cannot be missed by a value that is put away later: a late value carries an old
//! count. Two keys in one slot are invalidated together, which costs a load and nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::key::StoreKey;

/// The counters of one cache in one process.
#[derive(Debug)]
pub(crate) struct Epochs {
    slots: Box<[AtomicU64]>,
    /// False while messages of the bus may have been lost: then nothing is put into the process-local tier.
    following: AtomicBool,
}

/// The count of a key's slot at the moment a read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: u32,
    count: u64,
}

impl Epochs {
    /// `slots` is a power of two.
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| AtomicU64::new(0)).collect(), following: AtomicBool::new(false) }
    }

    /// To be taken before the first byte is read.
    pub(crate) fn ticket(&self, key: &StoreKey) -> Ticket {
        let slot = self.slot(key);
        Ticket { slot, count: self.count(slot) }
    }

    /// True while no invalidation came since the ticket was taken.
    #[inline]
    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        self.count(ticket.slot) == ticket.count
    }

    /// Voids everything of this key that was read, or is being read.
    pub(crate) fn invalidate(&self, key: &StoreKey) {
        if let Some(slot) = self.slots.get(self.slot(key) as usize) {
            slot.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Voids everything.
    pub(crate) fn invalidate_all(&self) {
        for slot in &self.slots {
            slot.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Messages may have been lost: void everything, and let nothing in.
    pub(crate) fn stop_following(&self) {
        // The order matters: who takes a ticket after the second line sees the first.
        self.following.store(false, Ordering::SeqCst);
        self.invalidate_all();
    }

    /// The bus is followed from here on.
    pub(crate) fn start_following(&self) {
        self.invalidate_all();
        self.following.store(true, Ordering::SeqCst);
    }

    /// True while every invalidation reaches this process.
    pub(crate) fn is_following(&self) -> bool {
        self.following.load(Ordering::SeqCst)
    }

    fn slot(&self, key: &StoreKey) -> u32 {
        // The lower half of the hash; the upper one chooses the store's shard.
        (key.hash() as u32) & (self.slots.len() as u32).wrapping_sub(1)
    }

    #[inline]
    fn count(&self, slot: u32) -> u64 {
        self.slots.get(slot as usize).map_or(u64::MAX, |count| count.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u64) -> StoreKey {
        StoreKey::encode("users", &id).expect("a key")
    }

    #[test]
    fn an_invalidation_voids_the_ticket_of_its_key_and_spares_others() {
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
    fn a_ticket_taken_in_doubt_is_void_once_the_doubt_is_over() {
        let epochs = Epochs::new(16);
        epochs.stop_following();
        let ticket = epochs.ticket(&key(1));
        assert!(!epochs.is_following());
        epochs.start_following();
        assert!(!epochs.holds(ticket));
    }
}
