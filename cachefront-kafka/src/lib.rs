//! Debezium's events on Kafka as the change source of cachefront.
//!
//! [`KafkaSource`] reads what Debezium's MySQL connector writes and hands every committed change to the cache's
//! invalidator, with the same positions (GTID sets) as the binary log's: a token from a write is good whichever source
//! invalidates.
//!
//! ```no_run
//! # fn run(mysql: impl cachefront_core::source::ChangeSource) -> cachefront_core::Result<()> {
//! use cachefront_kafka::KafkaSource;
//!
//! // `mysql` answers for the server behind the connector: `BinlogSource::connect("mysql://…").await?`
//! let source = KafkaSource::builder("kafka-1:9092,kafka-2:9092", "shop")
//!     .group("cachefront-shop")
//!     .marker("shop.cachefront_heartbeat", "executed")
//!     .client_setting("security.protocol", "SASL_SSL")
//!     .build(mysql)?;
//! # let _ = source;
//! # Ok(())
//! # }
//! ```
//!
//! # What the connector needs
//! `provide.transaction.metadata=true`, so that it can be told when a transaction is complete;
//! `skipped.operations=none`, or a TRUNCATE is never told; a heartbeat (`heartbeat.action.query`) that writes
//! `@@GLOBAL.gtid_executed` into a table that the connector reads, so that an idle database proves itself current (see
//! [`KafkaSourceBuilder::marker`]); JSON converters. The transaction topic has one partition. Rows may be flattened
//! (`ExtractNewRecordState`) or routed, if [`KafkaSourceBuilder`] is told.
//!
//! # What is complete
//! Events of one transaction come on several partitions, and partitions alone prove nothing. A transaction is in the
//! position when its END was read, every counted event of every mapped table was handed over (distinct ones: a connector
//! that restarts repeats many), and so was everything that began before it. A marker's row holds the set of
//! transactions that were executed when it was written; all of them precede it in the log, so when the marker's own
//! transaction is complete, so are they: DDL, other tables, an idle server.
//!
//! # What is a gap
//! Offsets that are gone (retention, a topic deleted or made anew), a record that cannot be understood, an event without
//! GTID, counted events that never come, a new snapshot of the connector. After each of these everything cached is
//! voided, and reading goes on at the end.
//!
//! # Several invalidators
//! Members of one [group](KafkaSourceBuilder::group) agree by cooperative rebalance who reads; the others wait. One
//! reader keeps one order of positions, and is faster than the one task of a connector by far. Offsets are committed
//! to the group after their effects, for the usual tools; the position that counts is in the store.

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
mod progress;
mod reader;
mod scope;
mod source;
mod topics;
mod tracker;

pub use builder::KafkaSourceBuilder;
pub use config::KafkaSettings;
pub use progress::{KafkaProgress, PartitionProgress};
pub use source::KafkaSource;
