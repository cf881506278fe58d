//! What the inspector reads of a cache: the entry that a plain read would be served, with what proves that it is old.

use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::handle::Cache;
use crate::cache::hit::{Hit, Tier};
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::key::{CacheKey, StoreKey};
use crate::keymap::TableRules;
use crate::loader::DynLoader;
use crate::position::Position;

/// Identifies one entry: two peeks with equal identities saw the same fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryId {
    tier: Tier,
    /// The clock before the load of a value in the process-local tier, and the end of its time there.
    times: (Timestamp, Timestamp),
    /// The whole entry of the shared store.
    bytes: Bytes,
}

/// An entry that a plain read would be served.
#[derive(Clone, Debug)]
pub(crate) struct Inspected<V> {
    /// What a plain read would return.
    pub(crate) hit: Hit<V>,
    pub(crate) id: EntryId,
    /// What the loader's server had executed before the value was read, as the loader reported it.
    pub(crate) loaded: Option<Position>,
    /// Every invalidation up to here was done when the entry was there; `None` if that is not known, and in TTL mode.
    pub(crate) applied: Option<Position>,
}

impl<K, V> Cache<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the entry that a plain read would be served without loading; `None` if it would load.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn inspect(&self, key: &K) -> Result<Option<Inspected<V>>> {
        self.inner.inspect(key).await
    }
}

impl<K, V> Cache<K, V> {
    /// Returns the cache's loader; `None` if it has none.
    pub(crate) fn loader(&self) -> Option<Arc<dyn DynLoader<K, V>>> {
        self.inner.loader.clone()
    }

    /// Returns the clock that the cache was built with.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.clock)
    }

    /// Returns the rules that map changes to keys of this cache.
    pub(crate) fn rules(&self) -> &TableRules {
        &self.inner.rules
    }
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the entry that a plain read would be served without loading; `None` if it would load.
    pub(super) async fn inspect(&self, key: &K) -> Result<Option<Inspected<V>>> {
        if self.is_bypassed() {
            return Ok(None);
        }
        if let Some(local) = self.inspect_local(key) {
            return Ok(Some(local));
        }
        let Some(store_key) = StoreKey::encode_short(&self.shared.cache, key)? else { return Ok(None) };
        let Some(stored) = self.shared.peek(&store_key).await? else { return Ok(None) };
        let id = EntryId { tier: Tier::Shared, times: Default::default(), bytes: stored.bytes() };
        // Both are of one instant: the entry was there when all of this had been invalidated.
        let applied = stored.meta.as_ref().map(|meta| meta.applied().clone());
        let loaded = stored.loaded();
        Ok(Some(Inspected { hit: self.stored_hit(stored), id, loaded, applied }))
    }

    fn inspect_local(&self, key: &K) -> Option<Inspected<V>> {
        let mut times = Default::default();
        let hit = self.local_lookup(&Level::default(), |tier, now| {
            let entry = tier.peek(key, &self.subscription.epochs, now)?;
            times = (entry.filled_at, entry.expires_at);
            Some(entry)
        })?;
        // What this process had handled of the bus before the entry was looked up.
        let applied = hit.position.clone();
        Some(Inspected { hit, id: EntryId { tier: Tier::Local, times, bytes: Bytes::new() }, loaded: None, applied })
    }
}
