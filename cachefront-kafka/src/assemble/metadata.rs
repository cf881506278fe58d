//! Transaction metadata: whether the connector counts the events of transactions, and which rows it leaves out.

use std::sync::Arc;

use cachefront_core::{Gtid, Result};

use super::Assembler;
use crate::error::gap;
use crate::event::{Event, Origin};
use crate::tracker::PartitionOffset;

/// Why the source claims no positions after a row without an order in its transaction.
pub(super) const UNCOUNTED: &str = "rows belong to no transaction of the transaction topic. They are of XA transactions: the \
     connector writes such rows when they are prepared, and no record when they are committed, so cached values of these \
     rows may stay stale. Use BinlogSource, which reads the binary log, or keep XA transactions away from the mapped \
     tables. If there are none, set provide.transaction.metadata=true. Then restart with an empty store";

/// The transaction metadata that a session has read.
///
/// From them it is known whether the connector counts events, and so what a missing order means.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata {
    /// A BEGIN or an END.
    pub(super) bounds: bool,
    /// A row with its order in a transaction.
    orders: bool,
    /// The first transaction that the connector has ever counted, if the session read its BEGIN.
    first: Option<Gtid>,
    /// For each origin the newest transaction of a row without its order. They are few: servers that were the primary.
    without_order: Vec<(Arc<str>, u64)>,
}

impl Metadata {
    fn note_without_order(&mut self, gtid: &Gtid) {
        match self.without_order.iter_mut().find(|(origin, _)| *origin == gtid.origin) {
            Some((_, newest)) => *newest = gtid.number.max(*newest),
            None => self.without_order.push((Arc::clone(&gtid.origin), gtid.number)),
        }
    }

    /// True if a row without its order is not older than the first transaction that was counted: it is of no transaction that
    /// the connector counts, though it counts.
    fn has_uncounted(&self) -> bool {
        let is_older = |(origin, newest): &(Arc<str>, u64)| {
            self.first.as_ref().is_some_and(|first| first.origin == *origin && *newest < first.number)
        };
        !self.without_order.iter().all(is_older)
    }
}

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

    /// True if the first record of the transaction topic is still to be read.
    fn awaits_first_begin(&self) -> bool {
        self.partitions.iter().any(|state| state.has_transactions && state.next == 0)
    }
}
