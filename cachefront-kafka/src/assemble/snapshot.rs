//! Snapshots, which a connector takes if it cannot resume in the log.

use cachefront_core::Result;
use cachefront_core::event::TableName;

use super::Assembler;
use super::seen::InSnapshot;
use crate::error::gap;
use crate::event::Snapshot;
use crate::tracker::PartitionOffset;

impl Assembler {
    /// The snapshot that is being read, and has flushed everything.
    pub(crate) fn snapshot(&self) -> InSnapshot {
        self.snapshot
    }

    /// Handles a row of a snapshot. The connector takes one if it cannot resume in the log, so changes before it may be
    /// lost.
    pub(super) fn snapshot_row(&mut self, table: &TableName, snapshot: Snapshot, at: PartitionOffset) -> Result<()> {
        let (begins, inside) = match (snapshot, self.snapshot) {
            (Snapshot::Incremental, _) => return Ok(()),
            (Snapshot::Schema, within) => (within != InSnapshot::Schemas, InSnapshot::Schemas),
            // Its schemas have flushed everything.
            (Snapshot::First, within) => (within != InSnapshot::Schemas, InSnapshot::Rows),
            (Snapshot::Other, within) => (within == InSnapshot::None, InSnapshot::Rows),
        };
        // A generation that began after this record was written covers everything before the snapshot.
        if self.is_before(at) {
            return Ok(());
        }
        self.snapshot = inside;
        if begins {
            return Err(gap(format!(
                "the connector took a new snapshot (it reads {table}): changes before it may have been lost"
            )));
        }
        Ok(())
    }

    /// Notes a record of the log. Only one after the generation's beginning shows that the snapshot has ended.
    pub(super) fn note_streaming(&mut self, at: PartitionOffset) {
        if !self.is_before(at) {
            self.snapshot = InSnapshot::None;
        }
    }
}
