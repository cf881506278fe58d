//! What a record of Debezium says, once it is understood.

use cachefront_core::Gtid;
use cachefront_core::Timestamp;
use cachefront_core::event::{RowChange, RowImage, TableName};

/// One record's meaning.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A row was inserted, updated or deleted.
    Row {
        /// The change.
        row: RowChange,
        /// Where it comes from.
        origin: Origin,
    },
    /// A snapshot read a row. Nothing changed, but a snapshot that is not incremental stands for a hole in the log.
    Read {
        /// The row's table.
        table: TableName,
        /// Which kind of snapshot.
        snapshot: Snapshot,
        /// The row, where its value was parsed.
        row: Option<RowImage>,
        /// Where it comes from.
        origin: Origin,
    },
    /// All rows of these tables may have changed (TRUNCATE, DROP, RENAME, ALTER); no table named: any table may have.
    Tables {
        /// The tables, if they are known.
        tables: Vec<TableName>,
        /// What was done, for the log.
        reason: String,
        /// Where it comes from.
        origin: Origin,
    },
    /// A transaction's first sign on the transaction topic.
    Begin {
        /// The transaction; nothing if the server writes no GTIDs.
        gtid: Option<Gtid>,
    },
    /// A transaction's last sign on the transaction topic.
    End {
        /// The transaction; nothing if the server writes no GTIDs.
        gtid: Option<Gtid>,
        /// How many events it has on all topics.
        events: u64,
        /// How many of them each table has.
        tables: Vec<(TableName, u64)>,
    },
    /// Understood, and of no consequence: `heartbeat`, `tombstone`, `create` and the like.
    Nothing {
        /// What it was, in one word.
        kind: &'static str,
        /// The transaction that it belongs to, where the record names one: a `CREATE`, a row of another table.
        gtid: Option<Gtid>,
    },
}

/// The kinds of snapshot reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// The first row of a snapshot as a whole.
    First,
    /// Another row of it.
    Other,
    /// A row of an incremental snapshot, which runs beside the stream and leaves no hole.
    Incremental,
}

/// Where an event comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The transaction; nothing for snapshots, and where the server writes no GTIDs.
    pub gtid: Option<Gtid>,
    /// When the database committed it, by the database's clock; unknown if the record does not say.
    pub committed_at: Timestamp,
    /// When the connector read it from the log, by the connector's clock; unknown if the record does not say.
    pub captured_at: Timestamp,
    /// The event's place in its transaction, where the connector provides transaction metadata.
    pub place: Option<Place>,
}

/// An event's place in its transaction, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Among all events of the transaction.
    pub in_transaction: u64,
    /// Among those of the same table.
    pub in_table: u64,
}
