//! A store that is slow or cannot be reached, for readers, the invalidator and the bus.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront::bus::{BusMessage, BusRead, BusReader, Hub, InvalidationBus};
use cachefront::store::{
    Applied, Cover, Expected, Fill, FillReply, Generation, Invalidation, LeaseReply, LeaseRequest, Meta, Reading,
    Store, StoreState, StoreWriter, Token,
};
use cachefront::{Error, ErrorKind, Result, StoreKey};

use super::switches::Faults;

/// A client gives up after this time, as the Redis client does by default: one limit for readers, one for the
/// invalidator.
const READER_PATIENCE: Duration = Duration::from_secs(1);
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// A wrapper between the real store and all of its users.
#[derive(Debug)]
pub struct FaultyStore {
    store: Arc<dyn Store>,
    faults: Arc<Faults>,
    /// Its own hub: that of the wrapped store would follow the bus without the faults.
    hub: Arc<Hub>,
}

impl FaultyStore {
    pub fn new(store: Arc<dyn Store>, faults: &Arc<Faults>) -> Self {
        Self { store, faults: Arc::clone(faults), hub: Arc::default() }
    }

    async fn pass(&self) -> Result<()> {
        pass(&self.faults, READER_PATIENCE).await
    }
}

/// Applies the faults of the network between a client and the store.
async fn pass(faults: &Faults, patience: Duration) -> Result<()> {
    let state = faults.current();
    if state.store_cut {
        return Err(Error::new(ErrorKind::Unavailable, "the store is cut off by the fault switch store_cut"));
    }
    let delay = Duration::from_millis(state.store_delay_ms);
    if delay.is_zero() {
        return Ok(());
    }
    tokio::time::sleep(delay.min(patience)).await;
    match delay > patience {
        true => Err(Error::new(ErrorKind::Timeout, "the store is delayed by the fault switch store_delay_ms")),
        false => Ok(()),
    }
}

#[deny(clippy::missing_trait_methods, reason = "everything has to pass")]
#[async_trait]
impl Store for FaultyStore {
    fn namespace(&self) -> &str {
        self.store.namespace()
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        self.pass().await?;
        self.store.get(key).await
    }

    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        self.pass().await?;
        self.store.peek(key).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        self.pass().await?;
        self.store.get_many(keys).await
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        self.pass().await?;
        self.store.lease(request).await
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        self.pass().await?;
        self.store.fill(fill).await
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        self.pass().await?;
        self.store.release(key, token).await
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        self.pass().await?;
        self.store.discard(keys).await
    }

    async fn suspend(&self) -> Result<()> {
        self.pass().await?;
        self.store.suspend().await
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        pass_writer(&self.faults).await?;
        Ok(Box::new(FaultyWriter { writer: self.store.writer().await?, faults: Arc::clone(&self.faults) }))
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        Arc::new(FaultyBus { bus: self.store.bus(), faults: Arc::clone(&self.faults) })
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        Some(&self.hub)
    }
}

/// The invalidator's side. Blocks while the consumer is paused.
#[derive(Debug)]
struct FaultyWriter {
    writer: Box<dyn StoreWriter>,
    faults: Arc<Faults>,
}

async fn pass_writer(faults: &Faults) -> Result<()> {
    // Cannot fail: the watch ends with its sender, which is borrowed here.
    let _ = faults.watch().wait_for(|state| !state.pause_consumer).await;
    pass(faults, WRITER_PATIENCE).await
}

#[deny(clippy::missing_trait_methods, reason = "everything has to pass")]
#[async_trait]
impl StoreWriter for FaultyWriter {
    async fn state(&mut self) -> Result<StoreState> {
        pass_writer(&self.faults).await?;
        self.writer.state().await
    }

    async fn term(&mut self) -> Result<u64> {
        pass_writer(&self.faults).await?;
        self.writer.term().await
    }

    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()> {
        pass_writer(&self.faults).await?;
        self.writer.take_term(state, term).await
    }

    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        pass_writer(&self.faults).await?;
        self.writer.cover(expected, next, rows).await
    }

    async fn resign(&mut self, expected: &Expected) -> Result<()> {
        pass_writer(&self.faults).await?;
        self.writer.resign(expected).await
    }

    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()> {
        pass_writer(&self.faults).await?;
        self.writer.raise_high_watermark(expected, order).await
    }

    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()> {
        pass_writer(&self.faults).await?;
        self.writer.invalidate(keys).await
    }

    async fn invalidate_unseen(&mut self, changes: &[Invalidation]) -> Result<()> {
        pass_writer(&self.faults).await?;
        self.writer.invalidate_unseen(changes).await
    }

    async fn publish(&mut self, message: &BusMessage) -> Result<u64> {
        pass_writer(&self.faults).await?;
        self.writer.publish(message).await
    }

    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        pass_writer(&self.faults).await?;
        self.writer.commit(expected, applied).await
    }

    async fn flush(&mut self, meta: &Meta) -> Result<()> {
        pass_writer(&self.faults).await?;
        self.writer.flush(meta).await
    }
}

#[derive(Debug)]
struct FaultyBus {
    bus: Arc<dyn InvalidationBus>,
    faults: Arc<Faults>,
}

#[deny(clippy::missing_trait_methods, reason = "everything has to pass")]
#[async_trait]
impl InvalidationBus for FaultyBus {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        pass(&self.faults, READER_PATIENCE).await?;
        self.bus.publish(message).await
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        pass(&self.faults, READER_PATIENCE).await?;
        let reader = self.bus.subscribe().await?;
        Ok(Box::new(FaultyReader { reader, faults: Arc::clone(&self.faults) }))
    }
}

#[derive(Debug)]
struct FaultyReader {
    reader: Box<dyn BusReader>,
    faults: Arc<Faults>,
}

#[deny(clippy::missing_trait_methods, reason = "everything has to pass")]
#[async_trait]
impl BusReader for FaultyReader {
    fn head(&self) -> u64 {
        self.reader.head()
    }

    async fn next(&mut self) -> Result<Vec<BusRead>> {
        // Applied before messages are taken, so that a caller that gives up loses none.
        pass(&self.faults, WRITER_PATIENCE).await?;
        let mut switches = self.faults.watch();
        tokio::select! {
            biased;
            _ = switches.wait_for(|state| state.store_cut) => {
                Err(Error::new(ErrorKind::Unavailable, "the bus is cut off by the fault switch store_cut"))
            }
            messages = self.reader.next() => messages,
        }
    }
}
