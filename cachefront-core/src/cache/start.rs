//! The start of loads that readers wait for. Loads of different keys that begin within a short time are merged to one batch
//! load, if `load_linger` says so.
//!
//! Only loads by the cache's loader are merged. Leases are taken after the wait, so a value that was invalidated meanwhile is not
//! stored; a load whose flight was detached in the wait is still owed to its readers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::cache::flight::Leader;
use crate::cache::inner::Inner;
use crate::cache::merge::PendingLoad;
use crate::cache::plan::{LoadPlan, Work};
use crate::key::CacheKey;

/// Begins the loads that wait. If its runtime ends first, their readers get an error: no other timer would begin them.
struct Timer<K: Hash + Eq, V> {
    inner: Arc<Inner<K, V>>,
    armed: bool,
}

impl<K: Hash + Eq, V> Timer<K, V> {
    fn disarm(&mut self) {
        self.armed = false;
    }
}

impl<K: Hash + Eq, V> Drop for Timer<K, V> {
    fn drop(&mut self) {
        if self.armed {
            drop(self.inner.merger.take(usize::MAX, false));
        }
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
            self.spawn_batches(full);
        }
        if first {
            let mut timer = Timer { inner: Arc::clone(self), armed: true };
            tokio::spawn(async move {
                timer.inner.clock.sleep(timer.inner.settings.load_linger).await;
                // Until none waits: only who adds to an empty list starts a timer.
                loop {
                    let rest = timer.inner.merger.take(max, false);
                    if rest.is_empty() {
                        break;
                    }
                    timer.inner.spawn_batches(rest);
                }
                timer.disarm();
            });
        }
    }

    /// Starts merged loads. A key may be among them twice, if an invalidation has detached its first load: a batch load has each
    /// key once, so the second is in a batch of its own.
    fn spawn_batches(self: &Arc<Self>, loads: Vec<PendingLoad<K, V>>) {
        let mut counts: HashMap<&K, usize> = HashMap::with_capacity(loads.len());
        let places: Vec<usize> = loads
            .iter()
            .map(|load| {
                let count = counts.entry(load.leader.key()).or_default();
                *count += 1;
                *count - 1
            })
            .collect();
        let mut batches: Vec<Vec<PendingLoad<K, V>>> = Vec::new();
        for (load, place) in loads.into_iter().zip(places) {
            match batches.get_mut(place) {
                Some(batch) => batch.push(load),
                // The places of a key rise by one.
                None => batches.push(vec![load]),
            }
        }
        batches.into_iter().for_each(|batch| self.spawn_loads(batch));
    }
}
