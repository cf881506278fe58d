//! Transaction metadata: whether the connector counts the events of transactions, and which rows it leaves out.

use cachefront_core::Result;

use super::Assembler;
use super::seen::UNCOUNTED;
use crate::error::gap;
use crate::event::{ConnectorVersion, Event, Origin};
use crate::tracker::PartitionOffset;

impl Assembler {
    /// Records what an event shows of the connector's transaction metadata.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap), once, if a row belongs to no transaction although the connector writes
    /// transaction metadata, and did when it wrote the row. The row is of an XA transaction: the connector emits such rows at
    /// the prepare, and no record at the commit. Also if the connector begins to count: what it has not counted proves no
    /// position, so the generation is replaced by one that is counted from its beginning.
    pub(super) fn note_metadata(&mut self, event: &Event, at: PartitionOffset) -> Result<()> {
        let mut begins = false;
        let row = match event {
            Event::Begin { gtid: Some(gtid) } => {
                begins = at.1 == 0 && self.metadata.first.is_none();
                if begins {
                    self.metadata.first = Some(gtid.clone());
                }
                self.metadata.bounds = true;
                None
            }
            Event::End { gtid: Some(_), .. } => {
                self.metadata.bounds = true;
                None
            }
            Event::Row { origin, .. } => Some(origin),
            Event::Tables { origin, .. } if self.is_row(at) => Some(origin),
            _ => None,
        };
        match row {
            Some(Origin { order: Some(_), .. }) => self.metadata.orders = true,
            Some(Origin { gtid: Some(gtid), .. }) => self.metadata.note_without_order(gtid),
            _ => {}
        }
        let seen = &self.metadata;
        // Flattened rows may lack their order because the transformation leaves it out. The first BEGIN tells how old the
        // others are.
        let is_counting = match seen.bounds {
            true => seen.orders || !self.scope.is_flattened,
            false => seen.orders && !self.awaits_first_begin(),
        };
        if self.uncounted || !is_counting {
            return Ok(());
        }
        if seen.has_uncounted() {
            self.uncounted = true;
            return Err(gap(UNCOUNTED));
        }
        // A generation that began after this record is counted already.
        if begins && !self.claims && !seen.without_order.is_empty() && !self.is_before(at) {
            return Err(gap(
                "the connector counts the events of transactions from now on: the position is proven after this flush",
            ));
        }
        Ok(())
    }

    /// Notes the version of the connector that wrote a change: one before 3.6.1 may count a transaction wrongly.
    pub(super) fn note_connector(&mut self, event: &Event, at: PartitionOffset) {
        let (Event::Row { origin, .. } | Event::Tables { origin, .. }) = event else { return };
        let (Some(version), Some(gtid)) = (origin.connector, &origin.gtid) else { return };
        // The connector may have been upgraded since.
        if self.is_covered(gtid, at) {
            return;
        }
        if self.tracker.note_connector(version) {
            let wanted = ConnectorVersion::KEEPS_COUNTS;
            tracing::warn!(
                "the connector is Debezium {version}, which counts the events of a transaction from 1 again if it is restarted \
                 within the transaction: everything is flushed when that may have happened; upgrade it to {wanted} or later"
            );
        }
    }

    /// True if the first record of the transaction topic is still to be read.
    fn awaits_first_begin(&self) -> bool {
        self.partitions.iter().any(|state| state.has_transactions && state.next == 0)
    }
}
