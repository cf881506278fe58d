//! The loads that wait for others, to be merged with them.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Id;

use crate::cache::flight::{Leader, current_runtime};
use crate::cache::plan::LoadPlan;

/// A load that was not begun.
pub(super) struct PendingLoad<K: Hash + Eq, V> {
    pub(super) leader: Leader<K, V>,
    pub(super) plan: LoadPlan,
}

/// The loads that wait for others. A trait, so that a cache's type does not require that its key is hashed.
pub(super) trait Merge<K, V>: Send + Sync {
    /// Adds loads. Returns true if they need a timer: they are the first ones, or the last timer is in another runtime, which may not be
    /// driven.
    fn add(&self, loads: Vec<PendingLoad<K, V>>) -> bool
    where
        K: Hash + Eq;

    /// Takes the loads of a batch, the oldest first: all, or `max` if there are as many. Returns none if `full` is asked for and they
    /// are fewer.
    fn take(&self, max: usize, full: bool) -> Vec<PendingLoad<K, V>>
    where
        K: Hash + Eq;
}

/// The loads that wait.
pub(super) struct Merger<K: Hash + Eq, V>(Mutex<Waiting<K, V>>);

struct Waiting<K: Hash + Eq, V> {
    loads: Vec<PendingLoad<K, V>>,
    /// The runtime of the last timer.
    timer: Option<Id>,
}

impl<K: Hash + Eq, V> Merger<K, V> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Waiting { loads: Vec::new(), timer: None }))
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Waiting<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Send + Sync, V: Send + Sync> Merge<K, V> for Merger<K, V> {
    fn add(&self, loads: Vec<PendingLoad<K, V>>) -> bool {
        let mut waiting = self.lock();
        let here = current_runtime();
        let needs_timer = waiting.loads.is_empty() || waiting.timer != here;
        waiting.timer = here;
        waiting.loads.extend(loads);
        needs_timer
    }

    fn take(&self, max: usize, full: bool) -> Vec<PendingLoad<K, V>> {
        let loads = &mut self.lock().loads;
        if full && loads.len() < max {
            return Vec::new();
        }
        let count = loads.len().min(max);
        loads.drain(..count).collect()
    }
}
