//! A store behind an `Arc` is a store: every method is passed on.

use std::sync::Arc;

use async_trait::async_trait;

use crate::bus::InvalidationBus;
use crate::error::Result;
use crate::key::StoreKey;
use crate::store::{Capability, Fill, FillReply, LeaseReply, LeaseRequest, Reading, Store, StoreWriter, Token};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn capability(&self) -> Capability {
        (**self).capability()
    }

    fn namespace(&self) -> &str {
        (**self).namespace()
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        (**self).get(key).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        (**self).get_many(keys).await
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        (**self).lease(request).await
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        (**self).fill(fill).await
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        (**self).release(key, token).await
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        (**self).discard(keys).await
    }

    async fn suspend(&self) -> Result<()> {
        (**self).suspend().await
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        (**self).writer().await
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        (**self).bus()
    }
}
