//! Change capture for the embedded database: its log table, read directly or carried by Kafka.

mod carrier;
mod log_table;

pub use carrier::Carrier;
pub use log_table::LogTableSource;
