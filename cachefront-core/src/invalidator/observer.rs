//! What is reported about every applied batch.

use std::fmt;

use crate::clock::Timestamp;
use crate::invalidator::batch::AppliedChange;
use crate::mode::InvalidationMode;
use crate::position::Position;

/// Notified of every batch after its effects are complete. Must return quickly: the next batch waits for it.
///
/// ```
/// use cachefront::{AppliedBatch, CdcObserver};
///
/// #[derive(Debug)]
/// struct Print;
///
/// impl CdcObserver for Print {
///     fn applied(&self, batch: &AppliedBatch) {
///         for change in &batch.changes {
///             println!("{} {} invalidated {:?}", change.operation, change.table, change.keys);
///         }
///     }
/// }
/// ```
pub trait CdcObserver: fmt::Debug + Send + Sync + 'static {
    /// Called after a batch was applied (or, in TTL mode, read).
    fn applied(&self, batch: &AppliedBatch);
}

/// A batch, as reported to an observer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedBatch {
    /// The row changes, in order.
    pub changes: Vec<AppliedChange>,
    /// The mode in which it was handled; in TTL mode no key was invalidated.
    pub mode: InvalidationMode,
    /// Everything up to here is done.
    pub applied: Position,
    /// When the source delivered it.
    pub received_at: Timestamp,
    /// When all of it was visible to loaders; unknown in TTL mode, which does not wait.
    pub visible_at: Timestamp,
    /// When its effects were complete.
    pub applied_at: Timestamp,
}
