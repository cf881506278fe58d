//! Snapshots, which a connector takes if it cannot resume in the log.

use cachefront_core::Result;
use cachefront_core::event::TableName;

use super::Assembler;
use super::seen::InSnapshot;
use crate::error::gap;
use crate::event::{Origin, Snapshot};
use crate::tracker::PartitionOffset;

impl Assembler {
    /// The snapshot that is being read, and has flushed everything.
    pub(crate) fn snapshot(&self) -> InSnapshot {
        self.snapshot.clone()
    }

    /// Handles a row or a schema of a snapshot. The connector takes one if it cannot resume in the log, so changes before it
    /// may be lost. It takes another one if it fails within the first.
    pub(super) fn snapshot_row(
        &mut self,
        table: &TableName,
        snapshot: Snapshot,
        origin: Origin,
        at: PartitionOffset,
    ) -> Result<()> {
        let place = origin.snapshot_at;
        let is_another = !self.snapshot.is_taken_at(place.as_ref());
        let is_within_schemas = matches!(self.snapshot, InSnapshot::Schemas(_));
        let (begins, inside) = match snapshot {
            Snapshot::Incremental => return Ok(()),
            Snapshot::Schema => (!is_within_schemas, InSnapshot::Schemas(place)),
            // Its schemas have flushed everything.
            Snapshot::First => (!is_within_schemas, InSnapshot::Rows(place)),
            Snapshot::Other => (self.snapshot == InSnapshot::None, InSnapshot::Rows(place)),
        };
        // A generation that began after this record was written covers everything before the snapshot.
        if self.is_before(at) {
            return Ok(());
        }
        self.snapshot = inside;
        if begins || is_another {
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
