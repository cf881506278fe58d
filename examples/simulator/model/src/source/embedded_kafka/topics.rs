//! The topics of the embedded Kafka, and the rows of the log table as positions.

use cachefront::Position;

/// The prefix of the topics.
pub(super) const PREFIX: &str = "embedded";

pub(super) fn topic(table: &str) -> String {
    format!("{PREFIX}.{table}")
}

pub(super) fn transaction_topic() -> String {
    format!("{PREFIX}.transaction")
}

pub(super) fn topics() -> [String; 2] {
    [topic("main.users"), transaction_topic()]
}

/// The number of the last row in a position of the log table.
pub(super) fn last_row(position: &Position) -> u64 {
    position.ranges().filter_map(|(_, ranges)| ranges.last().map(|range| range.1)).max().unwrap_or(0)
}
