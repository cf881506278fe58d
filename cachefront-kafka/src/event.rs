//! The meaning of one record of Debezium's topics.

use cachefront_core::Gtid;
use cachefront_core::Timestamp;
use cachefront_core::event::{RowChange, RowImage, TableName};

/// The meaning of one record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A row was inserted, updated or deleted.
    Row {
        /// The change.
        row: RowChange,
        /// The transaction and times of the change.
        origin: Origin,
    },
    /// A snapshot read a row or a schema. It has not changed, but a snapshot that is not incremental is taken where the
    /// connector lost its position in the log, so changes before it may be missing.
    Read {
        /// The row's table; of a schema that of its table, or its database.
        table: TableName,
        /// The kind of snapshot.
        snapshot: Snapshot,
        /// The row, if its value was parsed.
        row: Option<RowImage>,
        /// The transaction and times of the snapshot.
        origin: Origin,
    },
    /// All rows of these tables may have changed (TRUNCATE, DROP, RENAME, ALTER). An empty list means any table.
    Tables {
        /// The tables.
        tables: Vec<TableName>,
        /// The statement's action, for logs.
        reason: String,
        /// The transaction and times of the statement.
        origin: Origin,
    },
    /// The begin of a transaction, from the transaction topic.
    Begin {
        /// The transaction; `None` if the server writes no GTIDs.
        gtid: Option<Gtid>,
    },
    /// The end of a transaction, from the transaction topic.
    End {
        /// The transaction; `None` if the server writes no GTIDs.
        gtid: Option<Gtid>,
        /// Number of its events on all topics.
        events: u64,
        /// Number of its events for each table.
        tables: Vec<(TableName, u64)>,
    },
    /// A record that invalidates nothing.
    Ignored {
        /// The kind of record in one word: `heartbeat`, `tombstone`, `create`, …
        kind: &'static str,
        /// The record's transaction, if it names one: a `CREATE`, a row of a table that is not of interest.
        gtid: Option<Gtid>,
    },
}

/// The kind of a snapshot read, from `source.snapshot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Snapshot {
    /// The first row of a full snapshot.
    First,
    /// Another row of a full snapshot.
    Other,
    /// The schema of a table or database that a full snapshot lists before it reads rows, and also if it reads none
    /// (`snapshot.mode=no_data`).
    Schema,
    /// A row of an [incremental snapshot], which runs in parallel to streaming and loses no changes.
    ///
    /// [incremental snapshot]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-incremental-snapshots
    Incremental,
}

/// The transaction and the times of an event.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Origin {
    /// The transaction; `None` for snapshots, and if the server writes no GTIDs.
    pub gtid: Option<Gtid>,
    /// When the database committed it, by the database's clock; unknown if the record does not say.
    pub committed_at: Timestamp,
    /// When the connector read it from the log, by the connector's clock; unknown if the record does not say.
    pub captured_at: Timestamp,
    /// The event's order in its transaction; `None` without [transaction metadata].
    ///
    /// [transaction metadata]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-transaction-metadata
    pub order: Option<BlockOrder>,
}

/// The order of an event in its transaction, from Debezium's `transaction` block. Both numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOrder {
    /// Among all events of the transaction (`total_order`).
    pub in_transaction: u64,
    /// Among its events of the same table (`data_collection_order`).
    pub in_table: u64,
}
