//! Debezium's events on Kafka as the change source of cachefront.
//!
//! [`KafkaSource`] reads what Debezium's MySQL connector writes and hands every committed change to the cache's
//! invalidator, with the same positions (GTID sets) as the binary log's: a token from a write is good whichever source
//! invalidates.
//!
//! ```no_run
//! # fn run(mysql: impl cachefront::source::ChangeSource) -> cachefront::Result<()> {
//! use cachefront::kafka::KafkaSource;
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
//! A marker does not count before all partitions have been read to the ends that were known last: records without a
//! count may lie there.
//!
//! Changes of definitions (DROP, RENAME, ALTER) come on a topic of their own, and no transaction counts them. They void
//! what they concern whenever they are read, whatever the position says; one that the connector sends again after a
//! restart voids again. Only a generation skips those that were written before it began and that its head holds.
//!
//! # What is a gap
//! Offsets that are gone (retention, a topic deleted or made anew), a record that cannot be understood, an event without
//! GTID, counted events that never come, a BEGIN that never comes although others do, the first row of an XA
//! transaction, a new snapshot of the connector. After each of these everything cached is voided, and reading goes on at
//! the end.
//!
//! # What is not promised
//! **XA.** The connector writes the rows of an XA transaction when it is *prepared*, and nothing when it is committed
//! (Debezium 3.6 ignores these statements). A value that is loaded in between is the old one, and no record invalidates
//! it: it stays until its TTL ends. Such rows are recognised, because no transaction counts them. The first one voids
//! everything, once; after it the source claims no positions, so reads that bring a token or ask for a bound go to the
//! database. Plain reads of rows that XA transactions changed may be stale. That holds through restarts, until the
//! source starts with an empty store. `XA COMMIT ... ONE PHASE` looks the same. Use the binary log's source where
//! XA writes to mapped tables. Flattened rows without `transaction.total_order` and
//! `transaction.data_collection_order` claim nothing in any case, and their XA rows are not recognised.
//!
//! **Definitions that come late.** The topic of definitions is not in order with the others. A record that its broker
//! takes later than the marker behind it voids when it comes; until then a read with a token may be answered by an
//! entry from before.
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

/// The program of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
