//! When a change passed each part on its way, as the consumer reports it.

use cachefront::{AppliedBatch, AppliedChange, InvalidationMode, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Times in µs since 1970, each by the clock of the part that it names; null if it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ChangeTimes {
    /// The commit, as the log has it.
    pub committed_us: Option<u64>,
    /// A connector read it from the log; null if there is none.
    pub captured_us: Option<u64>,
    /// It was appended to a queue; null if there is none.
    pub queued_us: Option<u64>,
    /// The consumer received it.
    pub received_us: Option<u64>,
    /// Every reader could see the commit; null in TTL mode, which does not wait.
    pub visible_us: Option<u64>,
    /// Its keys were invalidated; null in TTL mode, which invalidates none.
    pub applied_us: Option<u64>,
}

impl ChangeTimes {
    pub fn of(change: &AppliedChange, batch: &AppliedBatch) -> Self {
        let known = |at: Timestamp| at.is_known().then(|| at.as_micros());
        let invalidates = batch.mode == InvalidationMode::Cdc;
        Self {
            committed_us: known(change.committed_at),
            captured_us: known(change.transit.captured_at),
            queued_us: known(change.transit.queued_at),
            received_us: known(batch.received_at),
            visible_us: known(batch.visible_at).filter(|_| invalidates),
            applied_us: known(batch.applied_at).filter(|_| invalidates),
        }
    }
}
