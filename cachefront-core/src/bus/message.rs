//! The messages of the bus.

use std::fmt;

use crate::clock::Timestamp;
use crate::identity::ServerId;
use crate::mapping::MappingId;
use crate::position::Position;

/// The sender of a message: one session of an invalidator, which is one connection to the store; or a reader.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Publisher(pub u128);

impl Publisher {
    /// A reader that invalidates a key explicitly. Such a message proves nothing about what was applied.
    pub const READER: Self = Self(0);
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({:032x})", self.0)
    }
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusEvent {
    /// These keys (their store text) were invalidated.
    Keys(Vec<Box<str>>),
    /// Every key of these caches, given by name, was invalidated.
    Caches(Vec<Box<str>>),
    /// Every key of every cache was invalidated.
    Flush,
    /// The publisher is alive, and covers the caches with these mappings. It is the first message of every session.
    Heartbeat(Vec<MappingId>),
}

/// A message. It is appended after the store's invalidations were acknowledged on all shards, and before `applied` moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusMessage {
    /// The sender. Messages may have been lost before a message of another publisher.
    pub publisher: Publisher,
    /// What happened.
    pub event: BusEvent,
    /// Once this message is handled, every invalidation up to here, in the caches that the publisher covers, is done.
    /// `None` if the message does not prove a position.
    pub applied: Option<Position>,
    /// When `applied` was the source's end, if known.
    pub source_time: Timestamp,
    /// When the message was sent, by the sender's clock, if known. For latency metrics only.
    pub sent_at: Timestamp,
}

/// A message with its sequence in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusRead {
    /// The server that the message was read from, as noted when the reader connected. A reader whose server is no longer
    /// the one that publishers write to returns an error.
    pub server: ServerId,
    /// One more than the sequence of the message before; any other number means that messages were lost.
    pub sequence: u64,
    /// The message.
    pub message: BusMessage,
}
