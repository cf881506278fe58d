//! Lists the store's keys, and clears the store like a server that restarts without its data.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront::bus::{BusEvent, BusMessage, Publisher};
use cachefront::redis::RedisStore;
use cachefront::store::Store;
use cachefront::{MemoryStore, Result, StoreKey, Timestamp};

/// Lists the entries of a namespace, or removes all that it holds: entries, leases and metas.
#[async_trait]
pub(super) trait NamespaceAdmin: fmt::Debug + Send + Sync + 'static {
    /// Removes everything and returns the number of keys.
    async fn empty(&self) -> Result<u64>;

    /// Returns the keys of entries, at most `limit` of them, in no order.
    async fn list(&self, limit: usize) -> Result<Vec<String>>;
}

#[async_trait]
impl NamespaceAdmin for MemoryStore {
    async fn empty(&self) -> Result<u64> {
        let entries = self.entries() as u64;
        self.forget();
        Ok(entries)
    }

    async fn list(&self, limit: usize) -> Result<Vec<String>> {
        Ok(self.keys(limit).iter().map(|key| key.as_str().to_owned()).collect())
    }
}

#[async_trait]
impl NamespaceAdmin for RedisStore {
    async fn empty(&self) -> Result<u64> {
        self.clear().await
    }

    async fn list(&self, limit: usize) -> Result<Vec<String>> {
        Ok(self.keys(limit).await?.iter().map(|key| key.as_str().to_owned()).collect())
    }
}

/// Clears the store and the process-local tiers above it.
#[derive(Clone, Debug)]
pub struct StoreAdmin {
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: Arc<dyn NamespaceAdmin>,
}

impl StoreAdmin {
    /// Removes everything, and publishes a flush to all processes. In CDC mode nothing is cached until the consumer has
    /// begun a new generation, which takes seconds.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn empty(&self) -> Result<u64> {
        // Removing the keys bypasses the fault switches. The peek does not: it fails while the store is cut off.
        let anything = StoreKey::from_text("store_admin:probe")?;
        self.store.peek(&anything).await?;
        let removed = self.keys.empty().await?;
        let message = BusMessage {
            publisher: Publisher::READER,
            event: BusEvent::Flush,
            applied: None,
            source_time: Timestamp::UNKNOWN,
            sent_at: Timestamp::UNKNOWN,
        };
        self.store.bus().publish(&message).await?;
        Ok(removed)
    }

    /// Returns the keys of the entries in the store, at most `limit` of them, in no order. Some may have expired or be
    /// of an earlier generation: only a peek at each shows what a read would serve.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn list(&self, limit: usize) -> Result<Vec<String>> {
        // Through the fault switches: a store that is cut off lists nothing.
        self.store.get(&StoreKey::from_text("keys:probe")?).await?;
        self.keys.list(limit).await
    }
}
