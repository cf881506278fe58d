//! Debezium's change events on Kafka as the change source of cachefront.
//!
//! [`KafkaSource`] reads the topics of [Debezium's MySQL connector] and delivers every committed change to the cache's
//! invalidator. Positions are GTID sets, as those of the binary log, so a token from a write is valid whichever source
//! invalidates.
//!
//! ```no_run
//! # fn run(mysql: impl cachefront::source::ChangeSource) -> cachefront::Result<()> {
//! use cachefront::kafka::KafkaSource;
//!
//! // `mysql` is the server behind the connector: `BinlogSource::connect("mysql://…").await?`
//! let source = KafkaSource::builder("kafka-1:9092,kafka-2:9092", "shop")
//!     .group("cachefront-shop")
//!     .marker("shop.cachefront_heartbeat", "executed")
//!     .client_setting("security.protocol", "SSL")
//!     .build(mysql)?;
//! # let _ = source;
//! # Ok(())
//! # }
//! ```
//!
//! [Debezium's MySQL connector]: https://debezium.io/documentation/reference/stable/connectors/mysql.html
//!
//! # What the connector needs
//! - Debezium 3.6.1 or later. Older versions count the events of a transaction from 1 again if they are restarted within it: such
//!   a transaction counts as incomplete, and everything is flushed after [`KafkaSettings::completion_timeout`];
//! - `provide.transaction.metadata=true`: without it no transaction is known to be complete;
//! - `skipped.operations=none`: by default TRUNCATE is not emitted (and never in flattened rows: see [`decode::Form::Flattened`]);
//! - `schema.history.internal.store.only.captured.tables.ddl=false`: otherwise a RENAME of a captured table to another name is
//!   not emitted;
//! - a heartbeat (`heartbeat.action.query`) that writes `@@GLOBAL.gtid_executed` into a table which the connector
//!   captures, so that the position advances while the database is idle (see [`KafkaSourceBuilder::marker`]);
//! - JSON converters;
//! - a transaction topic with one partition.
//!
//! Rows may be flattened (`ExtractNewRecordState`) or routed to other topics, see [`KafkaSourceBuilder::form`] and
//! [`KafkaSourceBuilder::topics`]. The module `connect` (feature `connect`) has a tested configuration and registers it.
//!
//! # Completeness
//! Events of one transaction arrive on several partitions. A transaction is in the position when its END was read, every
//! counted event of every mapped table was returned, and every transaction that began before it is complete. Events that a
//! connector repeats after a restart count once. Counts that contradict each other are a gap. A marker's row has the set of
//! transactions that were executed when it was written. All of them precede it in the log, so they are complete when the
//! marker's own transaction is: that covers DDL, other tables and an idle server. A marker takes effect only when all
//! partitions were read to the ends known last, because records that no transaction counts may precede them.
//!
//! Changes of definitions (DROP, RENAME, ALTER, and CREATE of a mapped table) arrive on a topic of their own, and no
//! transaction counts them. They flush the tables concerned whenever they are read, whatever the position contains, and again
//! if the connector repeats them. Only a new generation skips those that it covers: written before its beginning, and contained
//! in its head.
//!
//! # Gaps
//! After a gap everything cached is flushed, and reading continues at the end. Gaps are: offsets that are gone (retention,
//! a topic deleted or created again), a record that cannot be decoded, an event without GTID, counted events that never
//! arrive, a BEGIN that never arrives although others do, the first row of an XA transaction, and a new snapshot of the
//! connector.
//!
//! # What is not promised
//! **XA.** The connector emits the rows of an XA transaction when it is *prepared*, and no record when it is committed
//! (Debezium 3.6 ignores these statements). A value that is loaded in between is the old one, and no record invalidates
//! it: it stays until its TTL expires. Such rows are recognised because no transaction counts them. The first one flushes
//! everything, once; after it the source claims no positions, so reads with a token or a bound go to the database. Plain
//! reads of rows that XA transactions changed may be stale. That holds across restarts, until the source starts with an
//! empty store. `XA COMMIT ... ONE PHASE` looks the same. If XA transactions write to mapped tables, use the binary log's
//! source. Flattened rows without `transaction.total_order` and `transaction.data_collection_order` claim no positions in
//! any case, and their XA rows are not recognised.
//!
//! **Late definitions.** The topic of definitions is not ordered with the others. A record that arrives after the marker
//! behind it flushes when it is read; until then a read with a token may return an older entry.
//!
//! # Several invalidators
//! Members of one [group](KafkaSourceBuilder::group) elect a reader by cooperative rebalancing; the others wait. One reader
//! keeps positions in one order, and is much faster than a connector, which has a single task. Offsets are committed to the
//! group after their effects, for monitoring tools; the position that counts is in the store.
//!
//! # Topics
//! With the topic prefix `shop` and the database `app`:
//!
//! | topic | records | order |
//! |---|---|---|
//! | `shop.app.users` | the changes of one table, keyed by the primary key | per key, per partition |
//! | `shop.transaction` | BEGIN and END of each transaction | total: one partition |
//! | `shop` | changes of definitions | total: one partition |
//! | `__debezium-heartbeat.shop` | the connector's own heartbeats | skipped |
//!
//! A topic that does not exist yet is read from its beginning as soon as the connector creates it.
//! One that is deleted while it is read is a gap.
//!
//! A server with `lower_case_table_names` 1 or 2 logs names in lower case, whatever the mapping says. Each mapped table whose
//! name is not in lower case is therefore read under this name too, and its changes are delivered under the mapping's name. On
//! a server where case counts, changes of `app.users` thus also invalidate what depends on `app.Users`, unless both are mapped.
//! Topics of your own choice must have the records of both.
//!
//! # Threads and memory
//! librdkafka fetches in threads of its own, one more thread decodes
//! ([`KafkaSettings::buffer_events_max`] decoded events wait at most), and a member of a group has
//! one that keeps the membership alive. Fetching pauses above [`KafkaSettings::fetch_bytes_max`]. A
//! transaction of any size needs little memory: its changes are handed on as they arrive, and only
//! the ranges of their numbers are kept. If a table's topic has several partitions, these are up to one for each row.
//!
//! # Decoding records without a source
//! [`decode::Decoder`] turns the bytes of one record into an [`event::Event`], without Kafka:
//!
//! ```
//! use cachefront::kafka::decode::{Decoder, DecoderSettings, Record};
//! use cachefront::kafka::event::Event;
//! use cachefront::source::{Columns, TableFilter};
//!
//! let mut tables = TableFilter::new();
//! tables.add("app.users".into(), &Columns::All);
//! let mut decoder = Decoder::new(DecoderSettings::default(), &tables);
//!
//! let value = br#"{"before": null, "after": {"id": 7, "name": "Ann"}, "op": "c",
//!     "source": {"db": "app", "table": "users", "ts_ms": 1764417229000,
//!                "gtid": "3e11fa47-71ca-11e1-9e33-c80aa9429562:23"}}"#;
//! let record = Record { topic: "shop.app.users", partition: 0, offset: 12, key: None, value: Some(value) };
//! let event = decoder.decode(&record).expect("a record of the connector");
//! assert!(matches!(event, Event::Row { .. }));
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod assemble;
mod brokers;
mod builder;
mod checkpoint;
mod config;
#[cfg(feature = "connect")]
#[cfg_attr(docsrs, doc(cfg(feature = "connect")))]
pub mod connect;
pub mod decode;
mod error;
pub mod event;
mod group;
mod partition;
mod probe;
mod progress;
mod reader;
mod scope;
mod source;
mod spelling;
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
