//! What a source is told once, and keeps through all sessions.

use std::collections::HashSet;

use cachefront_core::event::TableName;
use cachefront_core::source::TableFilter;

use crate::KafkaSettings;

/// What a session needs to know of the source's set-up.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// The tables whose events are counted: those that mappings read, and the marker's.
    pub(crate) tables: HashSet<TableName>,
    /// The table of markers, and its column with the executed set.
    pub(crate) marker: Option<(TableName, Box<str>)>,
    pub(crate) topics: ControlTopics,
    /// Rows come without their envelope, so a record may say less than a row change needs, and may lack its place in
    /// the transaction although the connector has it.
    pub(crate) is_flattened: bool,
    pub(crate) ranges_max: usize,
    pub(crate) open_max: usize,
    pub(crate) tail: i64,
}

/// The connector's topics about itself.
#[derive(Clone, Debug)]
pub(crate) struct ControlTopics {
    /// Where transactions begin and end.
    pub(crate) transactions: String,
    /// Where changes of tables' definitions are told.
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
        let mapped = filter.iter().map(|(table, _)| table.clone());
        Self {
            tables: mapped.chain(marker.iter().map(|(table, _)| table.clone())).collect(),
            marker,
            topics,
            is_flattened,
            ranges_max: settings.position_ranges_max,
            open_max: settings.open_transactions_max,
            tail: i64::from(settings.tail_records),
        }
    }
}
