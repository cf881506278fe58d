//! Refresh in the background: a value whose time to live ends is loaded again while it is still served.
//!
//! A value is due for a refresh when its time to live has ended and
//! [`stale_while_revalidate`](crate::CacheSettings::stale_while_revalidate) still holds it, or shortly before, by
//! [`early_refresh`](crate::CacheSettings::early_refresh). The refresh is a single-flight load under a lease, like any
//! other, so one process refreshes and the others go on serving. It cannot store an old value: an invalidation removes the
//! entry, and with it the lease.
//!
//! The early refresh is XFetch: Vattani, Chierichetti and Lowenstein,
//! [Optimal Probabilistic Cache Stampede Prevention](https://cseweb.ucsd.edu/~avattani/papers/cache_stampede.pdf), VLDB 2015.
//! A read refreshes with a probability that grows towards the end, earlier for values that take long to load.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::flight::Joined;
use crate::cache::inner::Inner;
use crate::cache::plan::{LoadPlan, Purpose, Work};
use crate::cache::serving::ServingMode;
use crate::cache::shared::Stored;
use crate::clock::{Entropy, Timestamp};
use crate::key::{CacheKey, StoreKey};

/// Number of load times, multiplied by `early_refresh`, before the end of the time to live above which no random number is
/// drawn: a refresh that early has a probability below 10⁻⁸.
const EARLY_MAX: f64 = 20.0;

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Starts a refresh of a value that was read from the store, if it is due and no load of the key is in progress.
    pub(super) fn refresh_if_due(self: &Arc<Self>, key: &K, store_key: &StoreKey, stored: &Stored<V>) {
        if !stored.soft_expiry.is_known() || self.loader.is_none() {
            return;
        }
        if self.subscription.serving() != ServingMode::Normal || self.tasks.is_closed() {
            return;
        }
        if is_due(stored, self.settings.early_refresh, self.clock.now(), &*self.entropy) {
            let ticket = self.subscription.epochs.ticket(store_key);
            let joined = self.flights.join(key, Purpose::Refresh, ticket, &self.subscription.epochs);
            if let Joined::Leader(leader) = joined {
                let (store_key, ticket) = (store_key.clone(), self.keepable(ticket));
                let plan = LoadPlan { store_key, ticket, purpose: Purpose::Refresh, served_until: stored.expires_at };
                self.spawn_load(leader, plan, Work::Registered);
            }
        }
    }
}

/// Returns true if the value is past its time to live, or is selected for an early refresh.
fn is_due<V>(stored: &Stored<V>, early_refresh: f64, now: Timestamp, entropy: &dyn Entropy) -> bool {
    let remaining = stored.soft_expiry.since(now);
    if remaining.is_zero() {
        return true;
    }
    let window = Duration::from_micros(u64::from(stored.load_cost_us)).mul_f64(early_refresh);
    if window.is_zero() || remaining > window.mul_f64(EARLY_MAX) {
        return false;
    }
    // `1 - random_fraction` is in (0, 1], so its logarithm is finite.
    let factor = -(1.0 - entropy.random_fraction()).ln();
    remaining <= window.mul_f64(factor.min(EARLY_MAX))
}
