//! Debezium's events on Kafka as the change source of cachefront.

pub mod event;

mod brokers;
mod checkpoint;
mod config;
mod error;
mod group;
mod probe;
mod topics;
mod tracker;
