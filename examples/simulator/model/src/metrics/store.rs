//! How long the shared store takes, as its callers see it: including the faults that are switched on.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use cachefront::bus::{BusMessage, Hub, InvalidationBus};
use cachefront::store::{
    Applied, Cover, Expected, Fill, FillReply, Generation, Invalidation, LeaseReply, LeaseRequest, Meta, Reading,
    Store, StoreState, StoreWriter, Token,
};
use cachefront::{Result, StoreKey};
use metrics::histogram;

use super::names::STORE_OPERATION_DURATION_SECONDS;

/// A store whose operations are timed.
#[derive(Debug)]
pub struct MeasuredStore {
    store: Arc<dyn Store>,
}

impl MeasuredStore {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

/// Also what fails takes its time.
async fn timed<T>(operation: &'static str, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let outcome = work.await;
    histogram!(STORE_OPERATION_DURATION_SECONDS, "operation" => operation).record(started.elapsed().as_secs_f64());
    outcome
}

#[deny(clippy::missing_trait_methods, reason = "everything has to pass")]
#[async_trait]
impl Store for MeasuredStore {
    fn namespace(&self) -> &str {
        self.store.namespace()
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        timed("get", self.store.get(key)).await
    }

    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        timed("peek", self.store.peek(key)).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        timed("get_many", self.store.get_many(keys)).await
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        timed("lease", self.store.lease(request)).await
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        timed("fill", self.store.fill(fill)).await
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        timed("release", self.store.release(key, token)).await
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        timed("discard", self.store.discard(keys)).await
    }

    async fn suspend(&self) -> Result<()> {
        timed("suspend", self.store.suspend()).await
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        Ok(Box::new(MeasuredWriter { writer: self.store.writer().await? }))
    }

    /// Waiting for messages is no latency of the store.
    fn bus(&self) -> Arc<dyn InvalidationBus> {
        self.store.bus()
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        self.store.hub()
    }
}

/// The invalidator's side.
#[derive(Debug)]
struct MeasuredWriter {
    writer: Box<dyn StoreWriter>,
}

#[deny(clippy::missing_trait_methods, reason = "everything has to pass")]
#[async_trait]
impl StoreWriter for MeasuredWriter {
    async fn state(&mut self) -> Result<StoreState> {
        timed("state", self.writer.state()).await
    }

    async fn term(&mut self) -> Result<u64> {
        timed("term", self.writer.term()).await
    }

    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()> {
        timed("take_term", self.writer.take_term(state, term)).await
    }

    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        timed("cover", self.writer.cover(expected, next, rows)).await
    }

    async fn resign(&mut self, expected: &Expected) -> Result<()> {
        timed("resign", self.writer.resign(expected)).await
    }

    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()> {
        timed("raise_hi", self.writer.raise_high_watermark(expected, order)).await
    }

    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()> {
        timed("invalidate", self.writer.invalidate(keys)).await
    }

    async fn invalidate_unseen(&mut self, changes: &[Invalidation]) -> Result<()> {
        timed("invalidate", self.writer.invalidate_unseen(changes)).await
    }

    async fn publish(&mut self, message: &BusMessage) -> Result<u64> {
        timed("publish", self.writer.publish(message)).await
    }

    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        timed("commit", self.writer.commit(expected, applied)).await
    }

    async fn flush(&mut self, meta: &Meta) -> Result<()> {
        timed("flush", self.writer.flush(meta)).await
    }
}
