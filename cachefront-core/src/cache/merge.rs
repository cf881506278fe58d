//! Loads of different keys that begin within a short time are merged to one batch load, if `load_linger` says so.
//!
//! Only what a reader waits for is merged, and only loads by the cache's loader. Leases are taken after the wait, so a value
//! that was invalidated meanwhile is not stored; a load whose flight was detached in the wait is still owed to its readers.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cache::flight::Leader;
use crate::cache::inner::Inner;
use crate::cache::plan::{LoadPlan, Work};
use crate::key::CacheKey;

/// A load that was not begun.
pub(super) struct PendingLoad<K: Hash + Eq, V> {
    pub(super) leader: Leader<K, V>,
    pub(super) plan: LoadPlan,
}

/// The loads that wait for others. A trait, so that a cache's type does not require that its key is hashed.
pub(super) trait Merge<K, V>: Send + Sync {
    /// Adds loads. Returns true if they are the first ones.
    fn add(&self, loads: Vec<PendingLoad<K, V>>) -> bool
    where
        K: Hash + Eq;

    /// Takes the loads of a batch: all, or `max` if there are as many. Returns none if `full` is asked for and they are fewer.
    fn take(&self, max: usize, full: bool) -> Vec<PendingLoad<K, V>>
    where
        K: Hash + Eq;
}

/// The loads that wait.
pub(super) struct Merger<K: Hash + Eq, V> {
    waiting: Mutex<Vec<PendingLoad<K, V>>>,
}

impl<K: Hash + Eq, V> Merger<K, V> {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default() }
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Vec<PendingLoad<K, V>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Send + Sync, V: Send + Sync> Merge<K, V> for Merger<K, V> {
    fn add(&self, loads: Vec<PendingLoad<K, V>>) -> bool {
        let mut waiting = self.lock();
        let first = waiting.is_empty();
        waiting.extend(loads);
        first
    }

    fn take(&self, max: usize, full: bool) -> Vec<PendingLoad<K, V>> {
        let mut waiting = self.lock();
        if full && waiting.len() < max {
            return Vec::new();
        }
        let rest = waiting.len().saturating_sub(max);
        waiting.drain(rest..).collect()
    }
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Starts the load of one key that a reader waits for.
    pub(super) fn start(self: &Arc<Self>, leader: Leader<K, V>, plan: LoadPlan, work: Work<V>) {
        if self.settings.load_linger.is_zero() || !matches!(work, Work::Registered) {
            self.spawn_load(leader, plan, work);
        } else {
            self.merge(vec![PendingLoad { leader, plan }]);
        }
    }

    /// Starts the loads of many keys that a reader waits for.
    pub(super) fn start_many(self: &Arc<Self>, loads: Vec<PendingLoad<K, V>>) {
        if self.settings.load_linger.is_zero() {
            self.spawn_loads(loads);
        } else {
            self.merge(loads);
        }
    }

    /// Merges loads with those that wait already. Full batches begin at once, the rest when the first of it has waited.
    fn merge(self: &Arc<Self>, loads: Vec<PendingLoad<K, V>>) {
        let max = self.settings.load_batch_max;
        let first = self.merger.add(loads);
        loop {
            let full = self.merger.take(max, true);
            if full.is_empty() {
                break;
            }
            self.spawn_loads(full);
        }
        if first {
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                inner.clock.sleep(inner.settings.load_linger).await;
                let rest = inner.merger.take(max, false);
                if !rest.is_empty() {
                    inner.spawn_loads(rest);
                }
            });
        }
    }
}
