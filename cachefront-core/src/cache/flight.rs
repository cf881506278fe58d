//! Single-flight: one load per key in this process, however many readers need it.
//!
//! The first reader of a key is the leader of a flight and loads; later ones are waiters. A reader that starts after an
//! invalidation of the key never joins an older flight, and an invalidation never waits for a flight: the flight carries
//! the ticket of its start, and a ticket that is no longer valid detaches it. Waiters may take the result only as
//! [`Flight::serves`] and "Joining" allow.
//!
//! | the waiter started | the value | the waiter |
//! |---|---|---|
//! | before the flight | any | takes it: the load saw everything that the waiter may expect |
//! | after it | accepted by the store | takes it, if a session or bounded read is proven: no invalidation came since the lease |
//! | after it | refused, or not filled | looks up again, and leads or joins another flight |

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

use crate::cache::epochs::{Epochs, Ticket};
use crate::cache::hit::Loaded;
use crate::cache::plan::Purpose;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// Number of locks of the table: enough that cores rarely contend.
const SHARDS: usize = 32;

/// The result of a flight.
pub(crate) type Outcome<V> = Result<Loaded<V>>;

/// The flights of some keys.
type Table<K, V> = HashMap<K, Arc<Flight<V>>>;

/// All flights of one cache.
#[derive(Debug)]
pub(crate) struct Flights<K, V> {
    shards: Box<[Mutex<Table<K, V>>]>,
    hasher: RandomState,
    /// Number of flights started. A flight with a higher number than the one a reader saw at its start began after it.
    started: AtomicU64,
}

/// A load in progress.
#[derive(Debug)]
pub(crate) struct Flight<V> {
    number: u64,
    ticket: Ticket,
    purpose: Purpose,
    /// When its lease ends at the latest, in microseconds since the Unix epoch; 0 while it has none. Until then no other process can
    /// fill the key.
    leased_until: AtomicU64,
    outcome: OnceLock<Outcome<V>>,
    /// The runtime that its load runs in.
    runtime: Option<Id>,
    /// Wakes the waiters, in the order they came.
    completed: Notify,
}

/// The right, and the duty, to complete a flight. If it is dropped first, the flight completes with an error.
pub(crate) struct Leader<K: Hash + Eq, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
    flight: Arc<Flight<V>>,
}

/// The role of a reader that needs a load.
pub(crate) enum Joined<K: Hash + Eq, V> {
    /// The reader loads: there is no flight of this key, or it began before an invalidation.
    Leader(Leader<K, V>),
    /// The reader waits for this flight.
    Waiter(Arc<Flight<V>>),
}

impl<K: Hash + Eq, V> Flights<K, V> {
    /// Removes a flight, so that no later reader joins it.
    pub(crate) fn detach(&self, key: &K, flight: &Arc<Flight<V>>) {
        let mut shard = self.shard(key);
        // A later flight may have replaced this one: it stays.
        if shard.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            shard.remove(key);
        }
    }

    /// Locks the part of the table that has `key`.
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, Table<K, V>> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
}

impl<K: Hash + Eq + Clone, V> Flights<K, V> {
    /// Creates an empty table.
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            started: AtomicU64::new(0),
        }
    }

    /// Returns the number of the newest flight. Must be called when a read starts.
    pub(crate) fn newest(&self) -> u64 {
        self.started.load(Ordering::SeqCst)
    }

    /// Joins the flight of `key`, or starts one.
    pub(crate) fn join(self: &Arc<Self>, key: &K, purpose: Purpose, ticket: Ticket, epochs: &Epochs) -> Joined<K, V> {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key)
            && epochs.holds(flight.ticket)
        {
            return Joined::Waiter(Arc::clone(flight));
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let (leased_until, outcome, completed) = (AtomicU64::new(0), OnceLock::new(), Notify::new());
        let runtime = current_runtime();
        let flight = Arc::new(Flight { number, ticket, purpose, leased_until, outcome, runtime, completed });
        shard.insert(key.clone(), Arc::clone(&flight));
        drop(shard);
        Joined::Leader(Leader { flights: Arc::clone(self), key: key.clone(), flight })
    }

    /// Returns the flight of `key` for a reader that cannot load: the one in progress, or else one that has ended with `error`, which
    /// no other reader can join.
    pub(crate) fn of_others(
        &self,
        key: &K,
        ticket: Ticket,
        epochs: &Epochs,
        error: impl FnOnce() -> Error,
    ) -> Arc<Flight<V>> {
        let shard = self.shard(key);
        if let Some(flight) = shard.get(key)
            && epochs.holds(flight.ticket)
        {
            return Arc::clone(flight);
        }
        drop(shard);
        Arc::new(Flight {
            number: self.newest(),
            ticket,
            purpose: Purpose::Miss,
            leased_until: AtomicU64::new(0),
            outcome: OnceLock::from(Err(error())),
            runtime: None,
            completed: Notify::new(),
        })
    }

    /// Returns the flight of `key` that a reader may join without a read of the store: it began because there was no value, and its
    /// lease keeps others from storing one. A load that takes longer than its lease may be one that hangs, while another process has
    /// filled the key.
    pub(crate) fn after_miss<Q>(
        &self,
        key: &Q,
        epochs: &Epochs,
        (now, lease): (impl Fn() -> Timestamp, Duration),
    ) -> Option<Arc<Flight<V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let shard = self.shard(key);
        let flight = shard.get(key).filter(|flight| flight.purpose == Purpose::Miss && epochs.holds(flight.ticket))?;
        // More than a lease is left if the clock was set back.
        let left = Timestamp::from_micros(flight.leased_until.load(Ordering::Relaxed)).since(now());
        (!left.is_zero() && left <= lease).then(|| Arc::clone(flight))
    }

    /// Returns true if a load of `key` is in progress that a reader could join.
    pub(crate) fn is_loading(&self, key: &K, epochs: &Epochs) -> bool {
        self.shard(key).get(key).is_some_and(|flight| epochs.holds(flight.ticket))
    }

    /// Returns the number of readers that wait for the flight of `key`.
    #[cfg(test)]
    pub(crate) fn waiters(&self, key: &K) -> usize {
        // One handle is the table's and one the leader's.
        self.shard(key).get(key).map_or(0, |flight| Arc::strong_count(flight) - 2)
    }

    /// Returns the number of readers that wait for the flight of `key`; `None` if there is no flight.
    #[cfg(test)]
    pub(crate) fn waiters_or_none(&self, key: &K) -> Option<usize> {
        self.shard(key).get(key).map(|flight| Arc::strong_count(flight) - 2)
    }
}

impl<V: Send + Sync> Flight<V> {
    /// Waits for the result.
    pub(crate) async fn wait(&self) -> Result<&Loaded<V>> {
        // Created before the outcome is checked: a completion in between wakes it.
        let completed = self.completed.notified();
        if self.outcome.get().is_none() {
            completed.await;
        }
        match self.outcome.get() {
            Some(outcome) => outcome.as_ref().map_err(Error::clone),
            None => Err(Error::new(ErrorKind::Load, "the load was cancelled")),
        }
    }

    /// Returns true if the load runs in another runtime than this waiter. That one may not be driven, and neither are the load and its
    /// timer then; the waiter's own is, because the waiter is polled.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.outcome.get().is_none() && self.runtime != current_runtime()
    }

    /// Returns true if a reader that saw `newest` when it started may take the result without further proof: the load
    /// began after the reader did, so it saw everything that the reader may expect.
    pub(crate) fn serves(&self, newest: u64) -> bool {
        self.number > newest
    }
}

impl<V> Flight<V> {
    /// Sets the result and wakes the waiters.
    fn complete(&self, outcome: Outcome<V>) {
        // The first outcome counts.
        let _ = self.outcome.set(outcome);
        self.completed.notify_waiters();
    }
}

impl<K: Hash + Eq, V> Leader<K, V> {
    /// Returns the flight, for the leader's own wait.
    pub(crate) fn flight(&self) -> Arc<Flight<V>> {
        Arc::clone(&self.flight)
    }

    /// Returns the key to load.
    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// Notes that the load has a lease until this time.
    pub(crate) fn note_lease(&self, until: Timestamp) {
        self.flight.leased_until.store(until.as_micros(), Ordering::Relaxed);
    }

    /// Completes the flight: later readers start another one, then the waiters are woken.
    pub(crate) fn complete(self, outcome: Outcome<V>) {
        self.seal();
        self.flight.complete(outcome);
    }

    /// Removes the flight from the table so that no later reader can join. Must run before the fill is sent: every waiter
    /// then started before the store accepted the value, and any invalidation that a waiter could have seen has revoked
    /// the lease.
    pub(crate) fn seal(&self) {
        self.flights.detach(&self.key, &self.flight);
    }
}

impl<K: Hash + Eq, V> Drop for Leader<K, V> {
    fn drop(&mut self) {
        if self.flight.outcome.get().is_none() {
            self.seal();
            self.flight.complete(Err(Error::new(ErrorKind::Load, "the load panicked or was aborted")));
        }
    }
}

/// Returns the runtime of the task that calls this.
pub(crate) fn current_runtime() -> Option<Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

/// A panic while the lock is held cannot leave the map half-changed: each use is one call of the map.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
