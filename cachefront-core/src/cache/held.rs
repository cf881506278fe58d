//! A reader that finds the lease of another attempt waits until that load has ended.
//!
//! Where the store tells when an entry changes, it wakes the reader; else the reader asks again after pauses that grow. The
//! reader then requests the lease like any other, and finds the value, or gets the lease.

use std::hash::Hash;
use std::time::Duration;

use crate::cache::inner::Inner;
use crate::key::{CacheKey, StoreKey};

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Waits until the other load may have ended, at most until its lease expires. `pause` is the pause before the next
    /// request where the store wakes no one.
    pub(super) async fn wait_for_holder(&self, key: &StoreKey, remaining: Duration, pause: &mut Duration) {
        let settings = &self.settings;
        if remaining.is_zero() {
            // No attempt holds the lease: entries come and go.
            return self.clock.sleep(settings.lease_poll_min).await;
        }
        let remaining = remaining.max(settings.lease_poll_min);
        let woken = tokio::select! {
            biased;
            changed = self.shared.store.entry_changed(key) => changed.is_ok(),
            () = self.clock.sleep(settings.lease_push_max.min(remaining)) => true,
        };
        if !woken {
            self.clock.sleep((*pause).min(remaining)).await;
            *pause = (*pause * 2).min(settings.lease_poll_max);
        }
    }
}
