//! The messages of the bus.

use std::fmt;

use crate::clock::Timestamp;
use crate::identity::ServerId;
use crate::mapping::MappingId;
use crate::position::Position;

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
