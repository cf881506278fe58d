//! Debezium's events on Kafka as the change source of cachefront.

mod assemble;
mod brokers;
mod builder;
mod checkpoint;
mod config;
pub mod decode;
mod error;
pub mod event;
mod group;
mod lane;
mod probe;
mod reader;
mod source;
mod topics;
mod tracker;

pub use builder::KafkaSourceBuilder;
pub use config::KafkaSettings;
pub use source::KafkaSource;
