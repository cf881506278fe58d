//! The contract of a bus.

use std::fmt;

use async_trait::async_trait;

use crate::bus::message::{BusMessage, BusRead};
use crate::error::Result;

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
