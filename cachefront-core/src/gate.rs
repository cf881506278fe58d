//! The visibility gate: waits until loaders can see a commit that the log has delivered.
//!
//! ```text
//! without a gate                                     with a gate
//! w1 is in the log, not yet visible                  w1 is in the log, not yet visible
//! the key is invalidated                             the invalidator waits
//! a reader misses, loads v0, and fills it            a reader hits v0: w1 is not visible anywhere
//! w1 becomes visible                                 w1 becomes visible
//! v0 stays cached until it expires                   the key is invalidated
//! ```

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::position::Position;

/// Waits until commits are visible on every server that loaders read.
///
/// MySQL delivers a commit to the readers of its log before the storage engine makes it visible. If an invalidation is
/// applied in between, a reader can miss, load the *old* row and cache it. So every invalidation waits at this gate first
/// ("Visibility gate").
///
/// # Implementing
/// Wait on *every* server that loaders read, replicas included: one that is missing here leaves stale entries. For MySQL
/// that is `WAIT_FOR_EXECUTED_GTID_SET` on each; `cachefront-binlog` has such a gate for one server. `testing::check_gate` checks
/// the contract; test the race as `tests/pipeline/race.rs` does, with a commit that is in the log and not yet visible.
///
/// # Cancel safety
/// [`wait`](VisibilityGate::wait) is cancel safe: it only reads.
#[async_trait]
pub trait VisibilityGate: fmt::Debug + Send + Sync + 'static {
    /// Waits until every transaction in `position` is visible, at most for `timeout`. Returns false if it is not by then.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if a server does not reply.
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool>;
}

/// The gate of a source that reads committed rows, which are already visible.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

#[async_trait]
impl VisibilityGate for OpenGate {
    async fn wait(&self, _position: &Position, _timeout: Duration) -> Result<bool> {
        Ok(true)
    }
}
