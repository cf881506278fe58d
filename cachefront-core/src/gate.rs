//! The visibility gate: a log may deliver a commit before readers can see it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::position::Position;

/// Waits until commits are visible on every server that loaders read.
///
/// MySQL hands a commit to its log's readers before the storage engine makes it visible. An invalidation applied in
/// between lets a reader miss, load the *old* row and keep it. So nothing is applied before this gate ("Visibility gate").
///
/// # Cancel safety
/// [`wait`](VisibilityGate::wait) is cancel safe: it only asks.
#[async_trait]
pub trait VisibilityGate: fmt::Debug + Send + Sync + 'static {
    /// Waits until every transaction in `position` is visible, at most `timeout`. False if it is not by then.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if the server cannot be asked.
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool>;
}

/// The gate of a source that reads committed rows themselves: what it delivers is visible already.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

#[async_trait]
impl VisibilityGate for OpenGate {
    async fn wait(&self, _position: &Position, _timeout: Duration) -> Result<bool> {
        Ok(true)
    }
}
