//! The part of a source's configuration that every session needs.

use std::collections::HashSet;

use cachefront_core::event::TableName;
use cachefront_core::source::{Columns, TableFilter};

use crate::config::KafkaSettings;
use crate::spelling::Spellings;
use crate::topics::Topics;

/// The configuration of a session.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// The tables whose events are counted: the mapped ones, and the marker's, under all names that the log may have.
    pub(crate) tables: HashSet<TableName>,
    /// The names of the mapped tables in lower case.
    pub(crate) spellings: Spellings,
    /// The marker's table, and its column with the executed GTID set.
    pub(crate) marker: Option<(TableName, Box<str>)>,
    pub(crate) topics: ControlTopics,
    /// The topics to read.
    pub(crate) reads: Topics,
    /// Rows have no envelope, so a record may lack the row before the change, and its order in the transaction although
    /// the connector knows it.
    pub(crate) is_flattened: bool,
    /// A TRUNCATE of a mapped table leaves no record: rows are flattened, and the tables may be truncated.
    pub(crate) hides_truncates: bool,
    /// Maximum number of ranges of the position, for each origin.
    pub(crate) ranges_max: usize,
    /// Maximum number of incomplete transactions.
    pub(crate) open_max: usize,
    /// Number of records before a partition's end that a new generation reads again.
    pub(crate) tail: i64,
}

/// The connector's topics that hold no rows.
#[derive(Clone, Debug)]
pub(crate) struct ControlTopics {
    /// The topic of the begin and end of transactions.
    pub(crate) transactions: String,
    /// The topic of schema changes.
    pub(crate) definitions: String,
}

impl Scope {
    pub(crate) fn new(
        filter: &TableFilter,
        marker: Option<(TableName, Box<str>)>,
        topics: ControlTopics,
        is_flattened: bool,
        settings: &KafkaSettings,
    ) -> Self {
        let mapped = with_marker(filter, marker.as_ref());
        let spellings = Spellings::new(&mapped);
        Self {
            tables: spellings.logged(&mapped).iter().map(|(table, _)| table.clone()).collect(),
            spellings,
            marker,
            topics,
            is_flattened,
            hides_truncates: false,
            reads: Topics::Listed(Vec::new()),
            ranges_max: settings.position_ranges_max,
            open_max: settings.open_transactions_max,
            tail: i64::from(settings.tail_records),
        }
    }
}

/// Returns the mapped tables, and the marker's.
pub(crate) fn with_marker(filter: &TableFilter, marker: Option<&(TableName, Box<str>)>) -> TableFilter {
    let mut tables = filter.clone();
    if let Some((table, column)) = marker {
        tables.add(table.clone(), &Columns::Only(vec![column.clone()]));
    }
    tables
}
