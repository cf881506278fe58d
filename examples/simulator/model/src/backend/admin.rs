//! Lists the store's keys, and clears it as a server does that restarts without its data.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront::bus::{BusEvent, BusMessage, Publisher};
use cachefront::redis::RedisStore;
use cachefront::store::Store;
use cachefront::{MemoryStore, Result, StoreKey, Timestamp};

/// Removes everything that a namespace holds: entries, leases and metas. Or lists its entries.
#[async_trait]
pub(super) trait NamespaceAdmin: fmt::Debug + Send + Sync + 'static {
    /// How many keys there were.
    async fn empty(&self) -> Result<u64>;

    /// The keys of entries, at most `limit` of them, in no order.
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

/// Clears the store and what processes hold of it.
#[derive(Clone, Debug)]
pub struct StoreAdmin {
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: Arc<dyn NamespaceAdmin>,
}

impl StoreAdmin {
    /// Removes everything, and tells every process to forget what it holds. In CDC mode nothing is kept until the
    /// consumer has begun a new generation, which it does within seconds.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn empty(&self) -> Result<u64> {
        // The keys are removed past the fault switches: whoever is cut off from the store cannot empty it either.
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

    /// The keys that the store holds entries under, at most `limit` of them, in no order. Some may have run out, or be
    /// of an earlier generation: only a look into each says what a read would serve.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn list(&self, limit: usize) -> Result<Vec<String>> {
        // Through the faults that are switched on: a store that is cut off lists nothing.
        self.store.get(&StoreKey::from_text("keys:probe")?).await?;
        self.keys.list(limit).await
    }
}
