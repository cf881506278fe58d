//! The meaning of one record of Debezium's topics.

use std::fmt;
use std::sync::Arc;

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
    /// The connector's version; `None` if the record does not say.
    pub connector: Option<ConnectorVersion>,
    /// Of a snapshot: the file and the offset in the log at which it was taken, the same in all its records. `None` for changes,
    /// and if the record does not say.
    pub snapshot_at: Option<Arc<str>>,
}

/// The version of the connector that wrote a record, such as `3.6.1.Final` (`source.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectorVersion {
    /// 3 of 3.6.1.
    pub major: u16,
    /// 6 of 3.6.1.
    pub minor: u16,
    /// 1 of 3.6.1.
    pub patch: u16,
}

impl ConnectorVersion {
    /// The first version that goes on with the numbers of a transaction's events if it is restarted within the transaction.
    /// Older ones count the remaining events from 1 again, so an END may count fewer events than the transaction has.
    pub const KEEPS_COUNTS: Self = Self { major: 3, minor: 6, patch: 1 };

    /// Returns the version in a text such as `3.6.1.Final`; `None` if it does not begin with three numbers.
    ///
    /// ```
    /// use cachefront::kafka::event::ConnectorVersion;
    ///
    /// let version = ConnectorVersion::parse("3.6.1.Final").expect("a version");
    /// assert_eq!((version.major, version.minor, version.patch), (3, 6, 1));
    /// assert!(version.keeps_counts());
    /// assert!(!ConnectorVersion::parse("3.5.0.Final").expect("a version").keeps_counts());
    /// assert_eq!(ConnectorVersion::parse("latest"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(['.', '-']).map(str::parse);
        let mut next = || parts.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next()? })
    }

    /// True if the connector's counts of a transaction hold across its restarts: from [`KEEPS_COUNTS`](Self::KEEPS_COUNTS) on.
    pub fn keeps_counts(self) -> bool {
        self >= Self::KEEPS_COUNTS
    }
}

impl fmt::Display for ConnectorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The order of an event in its transaction, from Debezium's `transaction` block. Both numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOrder {
    /// Among all events of the transaction (`total_order`).
    pub in_transaction: u64,
    /// Among its events of the same table (`data_collection_order`).
    pub in_table: u64,
}
