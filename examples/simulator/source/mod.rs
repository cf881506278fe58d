//! Change capture for the embedded database.

mod log_table;

pub(crate) use log_table::LogTableSource;
