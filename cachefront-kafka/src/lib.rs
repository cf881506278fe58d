//! Debezium's events on Kafka as the change source of cachefront.

pub mod decode;
pub mod event;
