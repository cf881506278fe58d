//! What a change source delivers: transactions, and the row changes in them.
//!
//! Row images have the columns that mappings read, in the types that keys are made of; other columns are
//! [`Skipped`](Column::Skipped). A change without row images ([`Change::Tables`]) flushes the caches that depend on its
//! tables. A transaction that is larger than a batch comes in parts, of which only the last one is complete.

pub mod calendar;
mod fold;
mod image;
mod row;
mod table;
mod text;

pub use fold::{fold_char, lower};
pub use image::{RowBlock, RowImage};
pub use row::{Column, FromValue, Value};
pub use table::TableName;
pub use text::{Blob, Text};

use crate::checkpoint::Checkpoint;
use crate::clock::Timestamp;
use crate::position::Gtid;

/// The operation of a row event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A row was inserted: it has an after image.
    Insert,
    /// A row was updated: it has both images.
    Update,
    /// A row was deleted: it has a before image.
    Delete,
    /// A row was read by a snapshot: it has an after image.
    Read,
}

impl Operation {
    /// Returns the operation as one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
        }
    }
}

/// The change of one row.
#[derive(Clone, Debug)]
pub struct RowChange {
    /// The table.
    pub table: TableName,
    /// The operation.
    pub operation: Operation,
    /// The row before the change.
    pub before: Option<RowImage>,
    /// The row after the change.
    pub after: Option<RowImage>,
}

impl RowChange {
    /// Returns the images that are present, the before image first.
    pub fn images(&self) -> impl Iterator<Item = &RowImage> {
        self.before.iter().chain(self.after.iter())
    }
}

/// One change inside a transaction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A row changed.
    Row(RowChange),
    /// All rows of these tables may have changed (TRUNCATE, DDL, RENAME); without tables, those of any table.
    Tables {
        /// The tables; empty if they are not known.
        tables: Vec<TableName>,
        /// The statement or operation, for logs.
        reason: String,
    },
}

/// A committed transaction, or a part of a large one.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Its identity.
    pub gtid: Gtid,
    /// When it was committed, by the clock of the server that did; unknown if the log does not say.
    pub committed_at: Timestamp,
    /// When intermediaries handled it.
    pub transit: TransitTimes,
    /// Its changes to tables of the filter, in order.
    pub changes: Vec<Change>,
    /// False for a part of a transaction that is not its last one. Row images of such a part are no values of entries, so a source
    /// may end it with an empty part if its images are not what readers get: it is only prepared (XA), or changes were undone.
    pub complete: bool,
}

/// Timestamps added by intermediaries (connector, queue), each by its own clock; unknown if there is no such intermediary.
/// For latency metrics only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransitTimes {
    /// When a connector read it from the log.
    pub captured_at: Timestamp,
    /// When it was appended to a queue.
    pub queued_at: Timestamp,
}

/// The result of one read of a source: transactions in commit order, and the checkpoint after them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The transactions, or parts of them.
    pub transactions: Vec<Transaction>,
    /// The checkpoint after the last *complete* transaction. It also moves for transactions without a change in the filter.
    pub checkpoint: Checkpoint,
}

impl Batch {
    /// Returns the number of changes.
    pub fn changes(&self) -> usize {
        self.transactions.iter().map(|transaction| transaction.changes.len()).sum()
    }
}
