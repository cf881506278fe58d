//! Flights: one load for each key in this process, however many ask.
//!
//! A flight is never joined by a reader that starts after an invalidation of its key, and an invalidation never waits for
//! a flight: the flight carries the epoch's ticket of its begin, and a void ticket means that it is detached.
//! Whoever joined may take the outcome only by the rule of [`Flight::serves`].

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::cache::epochs::{Epochs, Ticket};
use crate::cache::found::Loaded;
use crate::error::{Error, ErrorKind, Result};

/// Locks of the table: enough that cores rarely meet.
const SHARDS: usize = 32;

/// How a flight ended.
pub(crate) type Outcome<V> = Result<Arc<Loaded<V>>>;

/// The flights of some keys.
type Table<K, V> = HashMap<K, Arc<Flight<V>>>;

/// All flights of one cache.
#[derive(Debug)]
pub(crate) struct Flights<K, V> {
    shards: Box<[Mutex<Table<K, V>>]>,
    hasher: RandomState,
    /// Counts begins. A flight whose number is above the one a reader saw at its start began after that reader.
    begins: AtomicU64,
}

/// A load under way.
#[derive(Debug)]
pub(crate) struct Flight<V> {
    number: u64,
    ticket: Ticket,
    outcome: OnceLock<Outcome<V>>,
    /// Wakes those who wait, in the order they came.
    landed: Notify,
}

/// The right, and the duty, to end a flight. Dropped without an outcome, the flight ends with an error.
pub(crate) struct Pilot<K: Hash + Eq, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
    flight: Arc<Flight<V>>,
}

/// What a reader that needs a load has to do.
pub(crate) enum Boarding<K: Hash + Eq, V> {
    /// Load: nobody else does, or those who do began before an invalidation.
    Pilot(Pilot<K, V>),
    /// Wait for this flight.
    Passenger(Arc<Flight<V>>),
}

impl<K: Hash + Eq + Clone, V> Flights<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            begins: AtomicU64::new(0),
        }
    }

    /// The number of the newest flight: to be taken when a read starts.
    pub(crate) fn newest(&self) -> u64 {
        self.begins.load(Ordering::SeqCst)
    }

    /// Joins the flight of `key`, or begins one.
    pub(crate) fn board(self: &Arc<Self>, key: &K, ticket: Ticket, epochs: &Epochs) -> Boarding<K, V> {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key)
            && epochs.holds(flight.ticket)
        {
            return Boarding::Passenger(Arc::clone(flight));
        }
        let number = self.begins.fetch_add(1, Ordering::SeqCst) + 1;
        let flight = Arc::new(Flight { number, ticket, outcome: OnceLock::new(), landed: Notify::new() });
        shard.insert(key.clone(), Arc::clone(&flight));
        drop(shard);
        Boarding::Pilot(Pilot { flights: Arc::clone(self), key: key.clone(), flight })
    }

    /// How many wait for the flight of `key`.
    #[cfg(test)]
    pub(crate) fn passengers(&self, key: &K) -> usize {
        // One handle is the table's and one the pilot's.
        self.shard(key).get(key).map_or(0, |flight| Arc::strong_count(flight) - 2)
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Table<K, V>> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
}

impl<V: Send + Sync> Flight<V> {
    /// Waits for the end.
    pub(crate) async fn wait(&self) -> Outcome<V> {
        // Made before the look at the outcome: what lands in between wakes it.
        let landed = self.landed.notified();
        if self.outcome.get().is_none() {
            landed.await;
        }
        self.outcome.get().cloned().unwrap_or_else(|| Err(Error::new(ErrorKind::Load, "the load was cancelled")))
    }

    /// True if a reader that saw `newest` when it started may take what this flight found, without looking at it: the
    /// load began after the reader did, so it saw everything that the reader may expect.
    pub(crate) fn serves(&self, newest: u64) -> bool {
        self.number > newest
    }
}

impl<V> Flight<V> {
    fn end(&self, outcome: Outcome<V>) {
        // The first outcome counts.
        let _ = self.outcome.set(outcome);
        self.landed.notify_waiters();
    }
}

impl<K: Hash + Eq, V> Pilot<K, V> {
    pub(crate) fn flight(&self) -> Arc<Flight<V>> {
        Arc::clone(&self.flight)
    }

    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// Ends the flight: later readers begin another one, then those who wait are told.
    pub(crate) fn land(self, outcome: Outcome<V>) {
        self.close_doors();
        self.flight.end(outcome);
    }

    /// Lets nobody else join. Done before the fill is sent: so whoever joined started before the store accepted the
    /// value, and an invalidation that a passenger must have seen would have broken the lease.
    pub(crate) fn close_doors(&self) {
        let index = self.flights.hasher.hash_one(&self.key) as usize % SHARDS;
        let mut shard = lock(&self.flights.shards[index]);
        // A later flight may have taken the place: it stays.
        if let Some(current) = shard.get(&self.key)
            && Arc::ptr_eq(current, &self.flight)
        {
            shard.remove(&self.key);
        }
    }
}

impl<K: Hash + Eq, V> Drop for Pilot<K, V> {
    fn drop(&mut self) {
        if self.flight.outcome.get().is_none() {
            self.close_doors();
            self.flight.end(Err(Error::new(ErrorKind::Load, "the load panicked or was aborted")));
        }
    }
}

/// A panic while the lock was held cannot leave the map half-changed: each use is one call of the map.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
