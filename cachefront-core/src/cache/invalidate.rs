//! Explicit invalidation: of keys, and of a whole cache ("Write path").
//!
//! Both advance the epochs of this process, change the store, advance the epochs again, because a value that was read before
//! the store replied may have been put away in between, and then notify the other processes over the bus.

use crate::bus::{BusEvent, BusMessage, Publisher};
use crate::cache::inner::Inner;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::identity::Generation;
use crate::key::StoreKey;
use crate::mode::InvalidationMode;
use crate::store::Coverage;

impl<K: Send + Sync + 'static, V: Send + Sync + 'static> Inner<K, V> {
    /// Removes keys from all tiers of all processes, in bounded commands and messages.
    pub(super) async fn invalidate(&self, keys: &[StoreKey]) -> Result<()> {
        let advance = |keys: &[StoreKey]| keys.iter().for_each(|key| self.subscription.epochs.invalidate(key));
        advance(keys);
        for keys in keys.chunks(self.settings.keys_per_command_max) {
            self.shared.store.discard(keys).await?;
            advance(keys);
            self.publish(BusEvent::Keys(keys.iter().map(|key| key.as_str().into()).collect())).await?;
        }
        Ok(())
    }

    /// Removes everything in this cache from all tiers of all processes: a new generation in CDC mode, else entry by entry.
    pub(super) async fn clear(&self) -> Result<()> {
        self.subscription.epochs.invalidate_all();
        match self.shared.mode() {
            InvalidationMode::Cdc => {
                // Another release may cover the cache too, under a mapping of its own. What can be flushed is flushed in any case.
                let covered = self.shared.store.covered().await;
                let of_cache = covered.iter().flat_map(Coverage::rows).filter(|row| *row.cache == *self.shared.cache);
                let others = of_cache.map(|row| row.mapping).filter(|mapping| *mapping != self.shared.mapping);
                let generation = |mapping| (mapping, Generation(self.entropy.random_u128()));
                let rows: Vec<_> = std::iter::once(self.shared.mapping).chain(others).map(generation).collect();
                self.shared.store.flush_caches(&rows).await?;
                covered?;
            }
            InvalidationMode::Ttl => self.shared.store.discard_cache(&self.shared.cache).await?,
        }
        self.subscription.epochs.invalidate_all();
        self.publish(BusEvent::Caches(vec![(*self.shared.cache).into()])).await
    }

    /// Notifies the other processes. The message proves nothing about what was applied.
    async fn publish(&self, event: BusEvent) -> Result<()> {
        let message = BusMessage {
            publisher: Publisher::READER,
            event,
            applied: None,
            source_time: Timestamp::UNKNOWN,
            sent_at: self.clock.now(),
        };
        self.shared.store.bus().publish(&message).await.map(drop)
    }
}
