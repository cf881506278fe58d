//! What a change source delivers: transactions, and the row changes in them.

pub mod calendar;
mod row;

use std::sync::Arc;

pub use row::{Column, FromValue, RowImage, Value};

use crate::checkpoint::Checkpoint;
use crate::clock::Timestamp;
use crate::position::Gtid;

/// A table's full name, `database.table`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName(Arc<str>);

impl TableName {
    /// The table `name` of `database`.
    pub fn new(database: &str, name: &str) -> Self {
        Self(format!("{database}.{name}").into())
    }

    /// The name in the form `database.table`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TableName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a row event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A row was added: there is an after image.
    Insert,
    /// A row was changed: there are both images.
    Update,
    /// A row was removed: there is a before image.
    Delete,
    /// A row was read by a snapshot: there is an after image.
    Read,
}

impl Operation {
    /// The operation in one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
        }
    }
}

/// One row's change.
#[derive(Clone, Debug)]
pub struct RowChange {
    /// The table.
    pub table: TableName,
    /// What happened.
    pub operation: Operation,
    /// The row before it.
    pub before: Option<RowImage>,
    /// The row after it.
    pub after: Option<RowImage>,
}

impl RowChange {
    /// The images there are, before first.
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
    /// All rows of these tables may have changed (TRUNCATE, DDL, RENAME); no table named: any table may have.
    Tables {
        /// The tables, if they are known.
        tables: Vec<TableName>,
        /// What was done, for the log.
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
    /// When it passed those who carry it.
    pub transit: TransitTimes,
    /// Its changes to tables of interest, in order.
    pub changes: Vec<Change>,
    /// False for a part of a large transaction that is not its last one.
    pub complete: bool,
}

/// When a transaction passed the stations between the log and its source, by their clocks; unknown where there are none.
/// They show where time goes, and nothing depends on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransitTimes {
    /// When a connector read it from the log.
    pub captured_at: Timestamp,
    /// When it was put into a queue.
    pub queued_at: Timestamp,
}

/// What a source delivers at once: transactions in commit order, and where the source stands after them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The transactions, or parts of them.
    pub transactions: Vec<Transaction>,
    /// The source's position after the last *complete* transaction. It moves also when no change was of interest.
    pub checkpoint: Checkpoint,
}

impl Batch {
    /// The number of row changes in it.
    pub fn changes(&self) -> usize {
        self.transactions.iter().map(|transaction| transaction.changes.len()).sum()
    }
}
