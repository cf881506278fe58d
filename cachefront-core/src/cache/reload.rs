//! Conditional reload: the loader is given the value that its lease was taken over, and may find it unchanged.
//!
//! The value is read *after* the lease was granted, and counts only if the entry has that very lease: so no invalidation
//! came between the value's fill and the load, and one that comes later breaks the lease. Without a lease there is no
//! previous value. An unchanged value is stored like a loaded one, with the time and position of the new load.

use std::hash::Hash;

use crate::cache::inner::Inner;
use crate::cache::plan::{LoadPlan, Purpose, Work};
use crate::cache::shared::{Lease, SharedTier};
use crate::entry::Fixed;
use crate::key::{CacheKey, StoreKey};

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the value that the loader may find unchanged, if the loader asks for one.
    pub(super) async fn previous(&self, plan: &LoadPlan, lease: Option<&Lease>, work: &Work<V>) -> Option<V> {
        let asked = plan.purpose != Purpose::Miss && !work.has_once();
        if !asked || !self.loader.as_ref().is_some_and(|loader| loader.reloads()) {
            return None;
        }
        self.shared.value_under(&plan.store_key, lease?).await
    }
}

impl<V: Send + Sync + 'static> SharedTier<V> {
    /// Reads the value over which a lease was granted. Returns `None` if there was none, or if it was replaced since.
    async fn value_under(&self, key: &StoreKey, lease: &Lease) -> Option<V> {
        let reading = self.guarded("get", self.store.get(key)).await?;
        let fixed = Fixed::decode(reading.entry.as_ref()?).ok()?;
        if fixed.token() != Some(lease.token()) {
            return None;
        }
        self.decode(reading, self.clock.now()).ok()?.value
    }
}
