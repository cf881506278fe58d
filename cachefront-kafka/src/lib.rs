//! Debezium's events on Kafka as the change source of cachefront.
//!
//! This release holds the place of the crate only: it has no source yet. Follow MySQL's own log with
//! `cachefront-binlog`.
