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
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;

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

/// Several gates as one, for loaders that read several servers: it is open when all of them are.
///
/// ```
/// use std::sync::Arc;
/// use cachefront::gate::{AllGates, OpenGate, VisibilityGate};
///
/// // In production: one `MySqlGate` for the server whose log is read, and one for each replica that loaders read.
/// let gates: [Arc<dyn VisibilityGate>; 2] = [Arc::new(OpenGate), Arc::new(OpenGate)];
/// let gate = AllGates::new(gates);
/// # let _ = gate;
/// ```
#[derive(Clone, Debug)]
pub struct AllGates(Vec<Arc<dyn VisibilityGate>>);

impl AllGates {
    /// Creates a gate of these. Without any it is always open.
    pub fn new(gates: impl IntoIterator<Item = Arc<dyn VisibilityGate>>) -> Self {
        Self(gates.into_iter().collect())
    }
}

#[async_trait]
impl VisibilityGate for AllGates {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        let waits = self.0.iter().map(|gate| gate.wait(position, timeout));
        Ok(try_join_all(waits).await?.into_iter().all(|open| open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ChangeSource;
    use crate::testing::ScriptedSource;

    #[tokio::test]
    async fn all_gates_are_waited_for() {
        let sources = [ScriptedSource::new("server-a"), ScriptedSource::new("server-b")];
        let gates = sources.clone().map(|source| source.gate().expect("a scripted log has a gate"));
        let mut position = Position::new();
        let both = AllGates::new(gates);
        for source in &sources {
            source.hide();
            position.insert(&source.commit([]));
        }
        for source in &sources {
            assert!(!both.wait(&position, Duration::from_millis(1)).await.expect("a reply"));
            source.reveal();
        }
        let seen = both.wait(&Position::new(), Duration::from_millis(1)).await.expect("a reply");
        assert!(seen && AllGates::new([]).wait(&position, Duration::ZERO).await.expect("a reply"));
    }
}
