//! The contract of a bus.

use std::fmt;

use async_trait::async_trait;

use crate::bus::message::{BusMessage, BusRead};
use crate::error::Result;
use crate::identity::ServerId;

/// Delivers invalidations to every process that has a process-local tier.
///
/// # Delivery
/// Messages may be lost (a trim, a failover, a lost connection), but never unnoticed: each has a sequence, and a reader is
/// bound to one connection.
///
/// # Ordering
/// The order of [`publish`](InvalidationBus::publish).
#[async_trait]
pub trait InvalidationBus: fmt::Debug + Send + Sync + 'static {
    /// Appends a message, and returns its sequence.
    ///
    /// # Cancel safety
    /// Not cancel safe: the message may or may not have been appended.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout`; the message may have been appended.
    async fn publish(&self, message: &BusMessage) -> Result<u64>;

    /// Starts to read at the end of the stream, on a new connection.
    ///
    /// # Cancel safety
    /// Cancel safe: it writes nothing.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout`.
    async fn subscribe(&self) -> Result<Box<dyn BusReader>>;
}

/// Reads the bus from the point of its subscription.
#[async_trait]
pub trait BusReader: fmt::Debug + Send {
    /// Returns the sequence of the last message before this reader's first one; 0 for an empty stream.
    fn head(&self) -> u64;

    /// Returns the server whose stream is read, with the meaning of [`BusRead::server`]. If the next subscription has the
    /// server and the head at which this one ended, nothing was lost in between.
    ///
    /// Default: unknown; something may then have been lost.
    fn server(&self) -> ServerId {
        ServerId::UNKNOWN
    }

    /// Waits for the next messages, and returns at least one.
    ///
    /// # Cancel safety
    /// Cancel safe: messages that were not returned are returned by the next call.
    ///
    /// # Errors
    /// Discard the reader after any error: messages may have been lost.
    async fn next(&mut self) -> Result<Vec<BusRead>>;
}
