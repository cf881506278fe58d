//! What is reported about every applied batch.

use std::fmt;

use crate::clock::Timestamp;
use crate::invalidator::batch::AppliedChange;
use crate::mode::InvalidationMode;
use crate::position::Position;

/// Told of every batch after its effects are complete. Must return quickly: the next batch waits for it.
pub trait CdcObserver: fmt::Debug + Send + Sync + 'static {
    /// A batch was applied (or, in TTL mode, only read).
    fn applied(&self, batch: &AppliedBatch);
}

/// What an observer is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedBatch {
    /// The row changes, in order.
    pub changes: Vec<AppliedChange>,
    /// The mode it was handled in; in TTL mode nothing was invalidated.
    pub mode: InvalidationMode,
    /// Everything up to here is done.
    pub applied: Position,
    /// The clock when the source had delivered it.
    pub received_at: Timestamp,
    /// The clock when all of it could be read where loaders read; unknown in TTL mode, which does not wait.
    pub visible_at: Timestamp,
    /// The clock when it was done.
    pub applied_at: Timestamp,
}
