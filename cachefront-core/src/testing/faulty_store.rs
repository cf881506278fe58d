//! A store with faults that a test controls.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::bus::{BusMessage, BusReader, Hub, InvalidationBus};
use crate::error::{Error, ErrorKind, Result};
use crate::key::StoreKey;
use crate::store::{
    Applied, Cover, Expected, Fill, FillReply, Generation, Invalidation, LeaseReply, LeaseRequest, MappingId, Meta,
    Reading, Store, StoreState, StoreWriter, Token,
};

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Store::get`].
    Get,
    /// [`Store::peek`].
    Peek,
    /// [`Store::get_many`].
    GetMany,
    /// [`Store::lease`].
    Lease,
    /// [`Store::fill`].
    Fill,
    /// [`Store::release`].
    Release,
    /// [`Store::discard`].
    Discard,
    /// [`Store::discard_cache`].
    DiscardCache,
    /// [`Store::flush_caches`].
    FlushCaches,
    /// [`Store::suspend`].
    Suspend,
    /// [`Store::writer`].
    Writer,
    /// [`StoreWriter::state`] and [`StoreWriter::term`].
    State,
    /// [`StoreWriter::take_term`].
    TakeTerm,
    /// [`StoreWriter::cover`].
    Cover,
    /// [`StoreWriter::resign`].
    Resign,
    /// [`StoreWriter::raise_high_watermark`].
    RaiseHighWatermark,
    /// [`StoreWriter::invalidate`] and [`StoreWriter::invalidate_unseen`].
    Invalidate,
    /// [`StoreWriter::publish`] and [`InvalidationBus::publish`].
    Publish,
    /// [`StoreWriter::commit`].
    Commit,
    /// [`StoreWriter::flush`].
    Flush,
    /// [`InvalidationBus::subscribe`].
    Subscribe,
}

/// The outcome of one operation of a [`FaultyStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The operation is passed on, and its result is returned.
    Done,
    /// The operation is not passed on, and `Unavailable` is returned.
    Refused,
    /// The operation is passed on, but its reply is lost: `Timeout` is returned.
    ReplyLost,
}

/// A store that passes operations on to another one, except those that a test refuses, loses or holds up.
///
/// A clone is the same store with the same faults.
///
/// ```
/// use cachefront::MemoryStore;
/// use cachefront::testing::{Fate, FaultyStore, Operation};
///
/// let store = FaultyStore::new(MemoryStore::new("shop"));
/// store.next(Operation::Fill, [Fate::Refused, Fate::ReplyLost]);
/// store.set_down(true);
/// assert_eq!(store.calls(Operation::Get), 0);
/// ```
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Arc<Faults>,
    hub: Arc<Hub>,
}

struct Faults {
    plan: Mutex<Plan>,
    held_up: watch::Sender<bool>,
}

/// Maximum number of recorded calls.
const HISTORY_MAX: usize = 10_000;

#[derive(Default)]
struct Plan {
    down: bool,
    fates: HashMap<Operation, VecDeque<Fate>>,
    calls: HashMap<Operation, u64>,
    history: VecDeque<Operation>,
    delay: Duration,
}

impl FaultyStore {
    /// Wraps a store, without faults.
    pub fn new(store: impl Store) -> Self {
        let faults = Faults { plan: Mutex::default(), held_up: watch::Sender::new(false) };
        Self { inner: Arc::new(store), faults: Arc::new(faults), hub: Arc::default() }
    }

    /// Sets whether every operation is refused. Outcomes set with [`next`](Self::next) are kept for later.
    pub fn set_down(&self, down: bool) {
        self.faults.plan().down = down;
    }

    /// Sets whether operations are held up: they begin and do not end.
    pub fn set_held_up(&self, held_up: bool) {
        self.faults.held_up.send_replace(held_up);
    }

    /// Sets the outcomes of the next calls of an operation, in order.
    pub fn next(&self, operation: Operation, fates: impl IntoIterator<Item = Fate>) {
        self.faults.plan().fates.entry(operation).or_default().extend(fates);
    }

    /// Sets a delay of every call, in tokio's time.
    pub fn set_delay(&self, delay: Duration) {
        self.faults.plan().delay = delay;
    }

    /// Returns the calls since the last call of this method, oldest first; at most 10,000 calls are recorded.
    pub fn take_history(&self) -> Vec<Operation> {
        self.faults.plan().history.drain(..).collect()
    }

    /// Returns the number of calls of an operation, with any outcome.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.faults.plan().calls.get(&operation).copied().unwrap_or_default()
    }
}

impl Faults {
    /// No code panics while it holds the lock.
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, operation: Operation) -> Fate {
        let mut plan = self.plan();
        if plan.down {
            return Fate::Refused;
        }
        plan.fates.get_mut(&operation).and_then(VecDeque::pop_front).unwrap_or(Fate::Done)
    }

    fn note(&self, operation: Operation) -> Duration {
        let mut plan = self.plan();
        *plan.calls.entry(operation).or_default() += 1;
        plan.history.push_back(operation);
        if plan.history.len() > HISTORY_MAX {
            plan.history.pop_front();
        }
        plan.delay
    }

    async fn run<T>(&self, operation: Operation, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let delay = self.note(operation);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut held_up = self.held_up.subscribe();
        // These faults hold the sender, so it cannot be gone.
        let _ = held_up.wait_for(|held_up| !held_up).await;
        match self.fate(operation) {
            Fate::Done => call.await,
            Fate::Refused => Err(Error::new(ErrorKind::Unavailable, format!("{operation:?} is refused by the test"))),
            Fate::ReplyLost => {
                call.await?;
                Err(Error::new(ErrorKind::Timeout, format!("the reply to {operation:?} is lost by the test")))
            }
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for FaultyStore {
    fn namespace(&self) -> &str {
        self.inner.namespace()
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        self.faults.run(Operation::Get, self.inner.get(key)).await
    }

    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        self.faults.run(Operation::Peek, self.inner.peek(key)).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        self.faults.run(Operation::GetMany, self.inner.get_many(keys)).await
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        self.faults.run(Operation::Lease, self.inner.lease(request)).await
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        self.faults.run(Operation::Fill, self.inner.fill(fill)).await
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        self.faults.run(Operation::Release, self.inner.release(key, token)).await
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        self.faults.run(Operation::Discard, self.inner.discard(keys)).await
    }

    async fn discard_cache(&self, cache: &str) -> Result<()> {
        self.faults.run(Operation::DiscardCache, self.inner.discard_cache(cache)).await
    }

    async fn flush_caches(&self, rows: &[(MappingId, Generation)]) -> Result<()> {
        self.faults.run(Operation::FlushCaches, self.inner.flush_caches(rows)).await
    }

    async fn suspend(&self) -> Result<()> {
        self.faults.run(Operation::Suspend, self.inner.suspend()).await
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        let inner = self.faults.run(Operation::Writer, self.inner.writer()).await?;
        Ok(Box::new(FaultyWriter { inner, faults: Arc::clone(&self.faults) }))
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        Arc::new(FaultyBus { inner: self.inner.bus(), faults: Arc::clone(&self.faults) })
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        Some(&self.hub)
    }
}

struct FaultyWriter {
    inner: Box<dyn StoreWriter>,
    faults: Arc<Faults>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StoreWriter for FaultyWriter {
    async fn state(&mut self) -> Result<StoreState> {
        self.faults.run(Operation::State, self.inner.state()).await
    }

    async fn term(&mut self) -> Result<u64> {
        self.faults.run(Operation::State, self.inner.term()).await
    }

    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()> {
        self.faults.run(Operation::TakeTerm, self.inner.take_term(state, term)).await
    }

    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        self.faults.run(Operation::Cover, self.inner.cover(expected, next, rows)).await
    }

    async fn resign(&mut self, expected: &Expected) -> Result<()> {
        self.faults.run(Operation::Resign, self.inner.resign(expected)).await
    }

    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()> {
        self.faults.run(Operation::RaiseHighWatermark, self.inner.raise_high_watermark(expected, order)).await
    }

    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()> {
        self.faults.run(Operation::Invalidate, self.inner.invalidate(keys)).await
    }

    async fn invalidate_unseen(&mut self, changes: &[Invalidation]) -> Result<()> {
        self.faults.run(Operation::Invalidate, self.inner.invalidate_unseen(changes)).await
    }

    async fn publish(&mut self, message: &BusMessage) -> Result<u64> {
        self.faults.run(Operation::Publish, self.inner.publish(message)).await
    }

    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        self.faults.run(Operation::Commit, self.inner.commit(expected, applied)).await
    }

    async fn flush(&mut self, meta: &Meta) -> Result<()> {
        self.faults.run(Operation::Flush, self.inner.flush(meta)).await
    }
}

struct FaultyBus {
    inner: Arc<dyn InvalidationBus>,
    faults: Arc<Faults>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl InvalidationBus for FaultyBus {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        self.faults.run(Operation::Publish, self.inner.publish(message)).await
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        self.faults.run(Operation::Subscribe, self.inner.subscribe()).await
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Debug for FaultyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyWriter").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Debug for FaultyBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyBus").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn faults_occur_in_order_and_end() {
        let store = FaultyStore::new(MemoryStore::new("shop"));
        let key = StoreKey::encode("users", &1_u64).expect("a key");
        store.next(Operation::Get, [Fate::Done, Fate::Refused, Fate::ReplyLost]);
        let kind = async || store.get(&key).await.err().map(|error| error.kind());
        assert_eq!(kind().await, None);
        assert_eq!(kind().await, Some(ErrorKind::Unavailable));
        assert_eq!(kind().await, Some(ErrorKind::Timeout));
        assert_eq!(kind().await, None);
        store.set_down(true);
        assert_eq!(kind().await, Some(ErrorKind::Unavailable));
        assert!(store.writer().await.is_err());
        store.set_down(false);
        store.set_held_up(true);
        let mut get = Box::pin(store.get(&key));
        assert!(get.as_mut().now_or_never().is_none());
        store.set_held_up(false);
        get.await.expect("a reading");
        assert_eq!((store.calls(Operation::Get), store.calls(Operation::Fill)), (6, 0));
    }
}
