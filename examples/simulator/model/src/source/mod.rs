//! Change capture for the embedded database: its log table, read directly or through the embedded Kafka.

mod embedded_kafka;
mod log_table;

pub use embedded_kafka::EmbeddedKafka;
pub use log_table::LogTableSource;
