//! Debezium's events on Kafka as the change source of cachefront.

pub mod event;
