//! The invalidation bus: tells every process which keys of its own tier are no longer true.

use std::fmt;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::position::Position;
use crate::store::{MappingId, ServerId};

mod hub;

pub use hub::Hub;
pub(crate) use hub::{Listener, Pace};

/// Who sent a message: a session of an invalidator, which is one connection to the store; or a reader.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Publisher(pub u128);

impl Publisher {
    /// A reader that invalidates something by itself. Such a message proves nothing.
    pub const READER: Self = Self(0);
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({:032x})", self.0)
    }
}

/// What one message says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusEvent {
    /// These keys (their store text) were invalidated.
    Keys(Vec<Box<str>>),
    /// Everything in these caches, given by name, was invalidated.
    Caches(Vec<Box<str>>),
    /// Everything was invalidated: a new generation began.
    Flush,
    /// The publisher is alive, and keeps the caches with these mappings correct. It begins every session.
    Heartbeat(Vec<MappingId>),
}

/// One message. It is appended after the store's invalidations were acknowledged on all shards, and before `applied`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusMessage {
    /// Who sent it. A message of another publisher than the one before may follow lost ones.
    pub publisher: Publisher,
    /// What happened.
    pub event: BusEvent,
    /// Every invalidation up to here, in the caches that the publisher covers, is done once this message is handled.
    /// `None` if the message proves nothing.
    pub applied: Option<Position>,
    /// When `applied` was the source's end; unknown if that is not known.
    pub source_time: Timestamp,
    /// When it was sent, by the sender's clock; unknown if it does not say. It measures the way, and proves nothing.
    pub sent_at: Timestamp,
}

/// A message with its place in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusRead {
    /// The server that it was read from, as noted when the reader connected. A reader whose server is no longer the one
    /// that publishers write to returns an error.
    pub server: ServerId,
    /// One more than the sequence of the message before it; anything else means that messages were lost.
    pub sequence: u64,
    /// The message.
    pub message: BusMessage,
}

/// Carries invalidations to every process that keeps values of its own.
///
/// # Delivery
/// Messages may be lost (a trim, a failover, a lost connection), but never unnoticed: each has a sequence, and a reader
/// is bound to one connection.
///
/// # Ordering
/// The order of [`publish`](InvalidationBus::publish).
#[async_trait]
pub trait InvalidationBus: fmt::Debug + Send + Sync + 'static {
    /// Appends a message and answers its sequence.
    ///
    /// # Cancel safety
    /// Not cancel safe: the message may or may not have been appended.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout`; the message may have been appended.
    async fn publish(&self, message: &BusMessage) -> Result<u64>;

    /// Starts to read at the stream's end, on a connection of its own.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout`.
    async fn subscribe(&self) -> Result<Box<dyn BusReader>>;
}

/// Reads the bus from the place where it was subscribed.
#[async_trait]
pub trait BusReader: fmt::Debug + Send {
    /// The sequence of the last message before this reader's first one; 0 for an empty stream.
    fn head(&self) -> u64;

    /// The next messages, at least one.
    ///
    /// # Cancel safety
    /// Cancel safe: messages that were not answered are answered by the next call.
    ///
    /// # Errors
    /// Any error means that this reader is of no further use and that messages may have been lost.
    async fn next(&mut self) -> Result<Vec<BusRead>>;
}
