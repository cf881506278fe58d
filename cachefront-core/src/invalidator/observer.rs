//! What is reported about every applied batch.

use std::fmt;

use crate::clock::Timestamp;
use crate::invalidator::batch::AppliedChange;
use crate::invalidator::latency::{StageLatency, StageTimes};
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
    /// The position up to which all invalidations have been applied.
    pub applied: Position,
    /// When the source delivered it.
    pub received_at: Timestamp,
    /// When all of it was visible to loaders; unknown in TTL mode, which does not wait.
    pub visible_at: Timestamp,
    /// When its effects were complete.
    pub applied_at: Timestamp,
}

impl AppliedBatch {
    /// Returns the latency of each transaction in each stage, in order: what `cachefront_stage_seconds` records.
    pub fn latencies(&self) -> Vec<StageLatency> {
        let stages = StageTimes { received_at: self.received_at, visible_at: self.visible_at };
        let mut latencies = Vec::new();
        let mut last = None;
        for change in &self.changes {
            if last.replace(&change.gtid) != Some(&change.gtid) {
                latencies.push(StageLatency::of(change.committed_at, change.transit, &stages, self.applied_at));
            }
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{TableName, TransitTimes};
    use crate::position::Gtid;

    #[test]
    fn each_transaction_counts_once_in_each_known_stage() {
        let at = Timestamp::from_micros;
        let change = |number, committed_at, transit| AppliedChange {
            table: TableName::from("shop.users"),
            operation: "update",
            keys: Vec::new(),
            gtid: Gtid { origin: "a".into(), number },
            committed_at,
            transit,
        };
        let mut carried = TransitTimes::default();
        (carried.captured_at, carried.queued_at) = (at(15), at(30));
        let batch = AppliedBatch {
            changes: vec![
                change(1, at(10), carried),
                change(1, at(10), carried),
                change(2, at(20), TransitTimes::default()),
            ],
            mode: InvalidationMode::Cdc,
            applied: Position::new(),
            received_at: at(100),
            visible_at: Timestamp::UNKNOWN,
            applied_at: at(200),
        };
        let micros = |micros| Some(Duration::from_micros(micros));
        let [first, second] = batch.latencies()[..] else { panic!("two transactions") };
        assert_eq!((first.capture, first.queue, first.read), (micros(5), micros(15), micros(70)));
        assert_eq!((second.capture, second.queue, second.read), (None, None, micros(80)));
        assert_eq!((first.gate, first.apply), (None, None));
    }
}
