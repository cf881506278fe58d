//! A store around another one: what is done around each of its operations is written once.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::{Histogram, histogram};
use tokio::time::Instant;

use crate::bus::{BusMessage, BusRead, BusReader, Hub, InvalidationBus};
use crate::error::Result;
use crate::identity::{Generation, ServerId, Token};
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::metrics::{STORE_SECONDS, describe_store};
use crate::store::contract::{Store, StoreWriter};
use crate::store::coverage::{Cover, Coverage};
use crate::store::lease::{Fill, FillReply, LeaseReply, LeaseRequest};
use crate::store::meta::Meta;
use crate::store::row_image::{RowImageCounts, RowImageValue};
use crate::store::state::{Applied, Expected, Invalidation, Reading, StoreState};

/// An operation of a store, its writer or its bus.
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
    /// [`Store::entry_changed`], which waits until there is a change.
    EntryChanged,
    /// [`Store::fill`].
    Fill,
    /// [`Store::release`].
    Release,
    /// [`Store::discard`].
    Discard,
    /// [`Store::discard_cache`].
    DiscardCache,
    /// [`Store::covered`].
    Covered,
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
    /// [`StoreWriter::invalidate`], [`StoreWriter::invalidate_unseen`] and [`StoreWriter::replace`].
    Invalidate,
    /// [`StoreWriter::publish`].
    Publish,
    /// [`StoreWriter::commit`].
    Commit,
    /// [`StoreWriter::flush`].
    Flush,
    /// [`InvalidationBus::publish`]: a reader invalidates on request.
    Announce,
    /// [`InvalidationBus::subscribe`].
    Subscribe,
    /// [`BusReader::next`], which waits until there is a message.
    Receive,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 25] = [
        Self::Get,
        Self::Peek,
        Self::GetMany,
        Self::Lease,
        Self::EntryChanged,
        Self::Fill,
        Self::Release,
        Self::Discard,
        Self::DiscardCache,
        Self::Covered,
        Self::FlushCaches,
        Self::Suspend,
        Self::Writer,
        Self::State,
        Self::TakeTerm,
        Self::Cover,
        Self::Resign,
        Self::RaiseHighWatermark,
        Self::Invalidate,
        Self::Publish,
        Self::Commit,
        Self::Flush,
        Self::Announce,
        Self::Subscribe,
        Self::Receive,
    ];

    /// Returns the operation as a label of metrics and logs: `get`, `raise_high_watermark`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Peek => "peek",
            Self::GetMany => "get_many",
            Self::Lease => "lease",
            Self::EntryChanged => "entry_changed",
            Self::Fill => "fill",
            Self::Release => "release",
            Self::Discard => "discard",
            Self::DiscardCache => "discard_cache",
            Self::Covered => "covered",
            Self::FlushCaches => "flush_caches",
            Self::Suspend => "suspend",
            Self::Writer => "writer",
            Self::State => "state",
            Self::TakeTerm => "take_term",
            Self::Cover => "cover",
            Self::Resign => "resign",
            Self::RaiseHighWatermark => "raise_high_watermark",
            Self::Invalidate => "invalidate",
            Self::Publish => "publish",
            Self::Commit => "commit",
            Self::Flush => "flush",
            Self::Announce => "announce",
            Self::Subscribe => "subscribe",
            Self::Receive => "receive",
        }
    }

    /// Returns true for the operations that wait until something happens: how long they take says nothing about the store.
    pub fn waits(self) -> bool {
        matches!(self, Self::EntryChanged | Self::Receive)
    }

    /// Returns true for the operations of an invalidator.
    pub fn is_of_writer(self) -> bool {
        matches!(
            self,
            Self::Writer
                | Self::State
                | Self::TakeTerm
                | Self::Cover
                | Self::Resign
                | Self::RaiseHighWatermark
                | Self::Invalidate
                | Self::Publish
                | Self::Commit
                | Self::Flush
        )
    }
}

/// What is done around the operations of a store: measuring, logging, faults.
///
/// ```
/// use std::future::Future;
///
/// use cachefront::store::{LayeredStore, Operation, StoreLayer};
/// use cachefront::{Cache, Error, ErrorKind, MemoryStore, Result, loader_fn};
///
/// /// A store that accepts no fills.
/// #[derive(Debug)]
/// struct ReadOnly;
///
/// impl StoreLayer for ReadOnly {
///     async fn around<T: Send>(
///         &self,
///         operation: Operation,
///         call: impl Future<Output = Result<T>> + Send,
///     ) -> Result<T> {
///         match operation {
///             Operation::Fill => Err(Error::new(ErrorKind::Unavailable, "fills are switched off")),
///             _ => call.await,
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let names: Cache<u64, String> = Cache::builder("names")
///     .shared(LayeredStore::around(MemoryStore::new("shop"), ReadOnly))
///     .depends_on_columns("shop.users", &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) }))
///     .build()?;
/// assert_eq!(names.get(&7).await?.as_deref(), Some("user 7"));
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
pub trait StoreLayer: fmt::Debug + Send + Sync + 'static {
    /// Runs one operation: awaits `call`, or does not, and returns what the caller gets. An error stands for an outcome
    /// that is not known, as in the contract of [`Store`].
    ///
    /// # Cancel safety
    /// Must be as cancel safe as `call` is.
    ///
    /// # Errors
    /// Those of `call`, and the layer's own.
    fn around<T: Send>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send;
}

/// A store whose every operation passes a [`StoreLayer`]: those of readers, of the invalidator and of the bus.
///
/// It counts as a store of its own: give this value, or a clone of it, to all caches and to the invalidator. A clone is
/// the same store with the same layer.
pub struct LayeredStore<L> {
    inner: Arc<dyn Store>,
    layer: Arc<L>,
    /// Not the inner store's, whose follower of the bus would not pass the layer.
    hub: Arc<Hub>,
}

impl<L: StoreLayer> LayeredStore<L> {
    /// Wraps a store.
    pub fn around(store: impl Store, layer: L) -> Self {
        Self::around_shared(Arc::new(store), layer)
    }

    /// Wraps a store that is shared already.
    pub fn around_shared(store: Arc<dyn Store>, layer: L) -> Self {
        Self { inner: store, layer: Arc::new(layer), hub: Arc::default() }
    }

    /// Returns the layer.
    pub fn layer(&self) -> &L {
        &self.layer
    }
}

impl<L> Clone for LayeredStore<L> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), layer: Arc::clone(&self.layer), hub: Arc::clone(&self.hub) }
    }
}

impl<L: fmt::Debug> fmt::Debug for LayeredStore<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredStore").field("inner", &self.inner).field("layer", &self.layer).finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: StoreLayer> Store for LayeredStore<L> {
    fn namespace(&self) -> &str {
        self.inner.namespace()
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        self.layer.around(Operation::Get, self.inner.get(key)).await
    }

    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        self.layer.around(Operation::Peek, self.inner.peek(key)).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        self.layer.around(Operation::GetMany, self.inner.get_many(keys)).await
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        self.layer.around(Operation::Lease, self.inner.lease(request)).await
    }

    async fn entry_changed(&self, key: &StoreKey) -> Result<()> {
        self.layer.around(Operation::EntryChanged, self.inner.entry_changed(key)).await
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        self.layer.around(Operation::Fill, self.inner.fill(fill)).await
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        self.layer.around(Operation::Release, self.inner.release(key, token)).await
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        self.layer.around(Operation::Discard, self.inner.discard(keys)).await
    }

    async fn discard_cache(&self, cache: &str) -> Result<()> {
        self.layer.around(Operation::DiscardCache, self.inner.discard_cache(cache)).await
    }

    async fn covered(&self) -> Result<Coverage> {
        self.layer.around(Operation::Covered, self.inner.covered()).await
    }

    async fn flush_caches(&self, rows: &[(MappingId, Generation)]) -> Result<()> {
        self.layer.around(Operation::FlushCaches, self.inner.flush_caches(rows)).await
    }

    async fn suspend(&self) -> Result<()> {
        self.layer.around(Operation::Suspend, self.inner.suspend()).await
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        let inner = self.layer.around(Operation::Writer, self.inner.writer()).await?;
        Ok(Box::new(LayeredWriter { inner, layer: Arc::clone(&self.layer) }))
    }

    fn write_wait_max(&self) -> Duration {
        self.inner.write_wait_max()
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        Arc::new(LayeredBus { inner: self.inner.bus(), layer: Arc::clone(&self.layer) })
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        Some(&self.hub)
    }
}

#[derive(Debug)]
struct LayeredWriter<L> {
    inner: Box<dyn StoreWriter>,
    layer: Arc<L>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: StoreLayer> StoreWriter for LayeredWriter<L> {
    async fn state(&mut self) -> Result<StoreState> {
        self.layer.around(Operation::State, self.inner.state()).await
    }

    async fn term(&mut self) -> Result<u64> {
        self.layer.around(Operation::State, self.inner.term()).await
    }

    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()> {
        self.layer.around(Operation::TakeTerm, self.inner.take_term(state, term)).await
    }

    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        self.layer.around(Operation::Cover, self.inner.cover(expected, next, rows)).await
    }

    async fn resign(&mut self, expected: &Expected) -> Result<()> {
        self.layer.around(Operation::Resign, self.inner.resign(expected)).await
    }

    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()> {
        self.layer.around(Operation::RaiseHighWatermark, self.inner.raise_high_watermark(expected, order)).await
    }

    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()> {
        self.layer.around(Operation::Invalidate, self.inner.invalidate(keys)).await
    }

    async fn invalidate_unseen(&mut self, changes: &[Invalidation]) -> Result<()> {
        self.layer.around(Operation::Invalidate, self.inner.invalidate_unseen(changes)).await
    }

    async fn replace(&mut self, expected: &Expected, values: &[RowImageValue]) -> Result<RowImageCounts> {
        self.layer.around(Operation::Invalidate, self.inner.replace(expected, values)).await
    }

    async fn publish(&mut self, message: &BusMessage) -> Result<u64> {
        self.layer.around(Operation::Publish, self.inner.publish(message)).await
    }

    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        self.layer.around(Operation::Commit, self.inner.commit(expected, applied)).await
    }

    async fn flush(&mut self, meta: &Meta) -> Result<()> {
        self.layer.around(Operation::Flush, self.inner.flush(meta)).await
    }
}

#[derive(Debug)]
struct LayeredBus<L> {
    inner: Arc<dyn InvalidationBus>,
    layer: Arc<L>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: StoreLayer> InvalidationBus for LayeredBus<L> {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        self.layer.around(Operation::Announce, self.inner.publish(message)).await
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        let inner = self.layer.around(Operation::Subscribe, self.inner.subscribe()).await?;
        Ok(Box::new(LayeredReader { inner, layer: Arc::clone(&self.layer) }))
    }
}

#[derive(Debug)]
struct LayeredReader<L> {
    inner: Box<dyn BusReader>,
    layer: Arc<L>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: StoreLayer> BusReader for LayeredReader<L> {
    fn head(&self) -> u64 {
        self.inner.head()
    }

    fn server(&self) -> ServerId {
        self.inner.server()
    }

    async fn next(&mut self) -> Result<Vec<BusRead>> {
        self.layer.around(Operation::Receive, self.inner.next()).await
    }
}

/// Records how long each operation takes, also if it fails, as [`STORE_SECONDS`]. Waiting for messages of the bus and for
/// changes of an entry is not recorded.
///
/// ```
/// use cachefront::MemoryStore;
/// use cachefront::store::{LayeredStore, StoreMeter};
///
/// // For all caches and the invalidator of this process.
/// let store = LayeredStore::around(MemoryStore::new("shop"), StoreMeter::new());
/// # let _ = store;
/// ```
pub struct StoreMeter {
    /// In the order of [`Operation::ALL`].
    seconds: [Histogram; Operation::ALL.len()],
}

impl StoreMeter {
    /// Creates the meter. Install a recorder of metrics before.
    pub fn new() -> Self {
        describe_store();
        Self { seconds: Operation::ALL.map(|operation| histogram!(STORE_SECONDS, "operation" => operation.as_str())) }
    }
}

impl Default for StoreMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StoreMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreMeter")
    }
}

impl StoreLayer for StoreMeter {
    async fn around<T: Send>(&self, operation: Operation, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if operation.waits() {
            return call.await;
        }
        let started = Instant::now();
        let outcome = call.await;
        self.seconds[operation as usize].record(started.elapsed().as_secs_f64());
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::bus::{BusEvent, Publisher};
    use crate::clock::Timestamp;
    use crate::error::{Error, ErrorKind};
    use crate::store::MemoryStore;

    fn message() -> BusMessage {
        let (source_time, sent_at) = (Timestamp::UNKNOWN, Timestamp::UNKNOWN);
        BusMessage { publisher: Publisher(1), event: BusEvent::Flush, applied: None, source_time, sent_at }
    }

    /// Notes every operation, and refuses one.
    #[derive(Debug, Default)]
    struct Notes {
        seen: Mutex<Vec<Operation>>,
        refused: Option<Operation>,
    }

    impl StoreLayer for Notes {
        async fn around<T: Send>(
            &self,
            operation: Operation,
            call: impl Future<Output = Result<T>> + Send,
        ) -> Result<T> {
            self.seen.lock().expect("unpoisoned").push(operation);
            match self.refused == Some(operation) {
                true => Err(Error::new(ErrorKind::Unavailable, "refused")),
                false => call.await,
            }
        }
    }

    #[tokio::test]
    async fn readers_writer_and_bus_pass_the_layer() {
        let store = LayeredStore::around(MemoryStore::new("shop"), Notes::default());
        let key = StoreKey::encode("users", &7_u64).expect("a key");
        store.get(&key).await.expect("a reading");
        store.clone().discard(std::slice::from_ref(&key)).await.expect("a reply");
        let mut reader = store.bus().subscribe().await.expect("a reader");
        let mut writer = store.writer().await.expect("a writer");
        writer.publish(&message()).await.expect("a sequence");
        reader.next().await.expect("a message");
        let seen = store.layer().seen.lock().expect("unpoisoned").clone();
        let expected = [
            Operation::Get,
            Operation::Discard,
            Operation::Subscribe,
            Operation::Writer,
            Operation::Publish,
            Operation::Receive,
        ];
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn what_the_layer_refuses_does_not_reach_the_store() {
        let inner = MemoryStore::new("shop");
        let refusing = Notes { refused: Some(Operation::Announce), ..Notes::default() };
        let store = LayeredStore::around(inner.clone(), refusing);
        let mut reader = inner.bus().subscribe().await.expect("a reader");
        let head = reader.head();
        store.bus().publish(&message()).await.expect_err("refused");
        assert_eq!(inner.bus().publish(&message()).await.expect("a sequence"), head + 1);
        assert_eq!(reader.next().await.expect("a message").len(), 1);
    }

    #[test]
    fn operations_are_listed_by_number_under_distinct_labels() {
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, at, "{operation:?}");
        }
        let mut labels = Operation::ALL.map(Operation::as_str);
        labels.sort_unstable();
        assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
    }
}
