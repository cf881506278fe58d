//! MySQL's binary log as the change source of cachefront.
//!
//! [`BinlogSource`] follows the log of a server of MySQL (8.0 and later) or MariaDB (10.5 and later), with GTIDs and row
//! format, and delivers every committed
//! change to the invalidator of the cache. [`MySqlGate`] waits until commits are visible to readers, because the log delivers
//! them before that. [`read_position`] is for loaders, [`own_commit_token`] and [`commit_token`] are for writers.
//!
//! ```no_run
//! # async fn run() -> cachefront::Result<()> {
//! use cachefront::binlog::BinlogSource;
//!
//! let source = BinlogSource::connect("mysql://repl:secret@db.internal:3306/?require_ssl=true").await?;
//! # let _ = source;
//! # Ok(())
//! # }
//! ```
//!
//! # What the server needs
//! `log_bin`, `gtid_mode=ON`, `enforce_gtid_consistency=ON`, `binlog_format=ROW`, `binlog_row_image=FULL`; a user with
//! `REPLICATION SLAVE`, `REPLICATION CLIENT` and `SELECT` on the mapped tables. `binlog_row_metadata=FULL` is recommended: with
//! it the log itself names the columns. So is an empty `binlog_row_value_options`: a JSON document that is logged as a
//! difference flushes the caches whose mapping reads its column. The source's preflight checks all of
//! this, and each finding names the SQL that fixes it. The variables are described in the
//! [manual](https://dev.mysql.com/doc/refman/8.4/en/replication-options-binary-log.html).
//!
//! A server of MySQL without GTIDs (`gtid_mode=OFF`) is refused, by the preflight, by [`BinlogSource`] when it opens the log and by
//! [`MySqlGate`], with the statements that turn them on. Its log could be read by file and offset, but neither a value nor a
//! checkpoint would show which commits it contains, and no gate could wait for them. [`BinlogFile`] reads its files.
//!
//! A mapped table or column that does not exist or is not visible to the user prevents the start, unless
//! [`BinlogSourceBuilder::allow_missing_tables`] is set. The preflight can be repeated at any time, also for some of the
//! tables only, for example after DDL or after a change of the server.
//!
//! MariaDB needs `log_bin`, `gtid_strict_mode=ON`, `binlog_format=ROW` and `binlog_row_image=FULL`, and a user with
//! `REPLICATION SLAVE`, `BINLOG MONITOR` and `SELECT` on the mapped tables.
//!
//! # One address, one server
//! The source, its probe and its gate have a connection each, and each reads `@@server_uuid`. If they reach different
//! servers (a load balancer, a reader endpoint, a name or virtual address that has moved), the log ends in a gap or the gate
//! returns an error; the probe reconnects after [`BinlogSettings::probe_redial`] to detect this. After a failover the
//! address must lead to the new primary.
//!
//! # What is a gap, and what is not detected
//! A part of the log that cannot be followed exactly is an error of kind `Gap`, after which the whole cache is flushed: an
//! incident, a damaged or unknown event, a purged or foreign position. Rows of which the log lacks a column that a mapping
//! names (`binlog_row_image`, or a difference of JSON documents) flush the caches of their table only.
//!
//! A session that sets its own `binlog_format` logs statements without their rows. Such a statement flushes the caches of
//! the tables that it names. It flushes everything if it may have changed other tables: its table has a trigger, is a view or
//! has foreign keys that cascade, or it calls a function that may be a stored one, itself or by a view that it reads. To know
//! the triggers, views and foreign keys the user needs `SELECT` and `TRIGGER` on all tables. Tables of the database `mysql`, where servers of cloud providers
//! write heartbeats, have no triggers, and temporary tables neither.
//!
//! # Names
//! Tables are compared as the server compares them: on a server with `lower_case_table_names` 1 or 2 a mapping may have any
//! case. A statement is read in the character set and the SQL mode of its session; where its text could mean several mapped
//! tables, each of them is flushed.
//!
//! Changes that are not logged cannot be detected: writes with `sql_log_bin=0`, and before MySQL 9.6 the rows that a foreign
//! key changes by cascade (the preflight warns of those).
//!
//! # TLS
//! `?require_ssl=true` in the URL turns on TLS with a verified certificate; [`BinlogSourceBuilder::tls_ca_file`] sets the CA.
//! The server's *name* is verified too: the certificate must have the host of the URL (or
//! [`BinlogSourceBuilder::tls_server_name`]) as a subject alternative name. The certificate that MySQL generates by itself has
//! none and is refused: give the server one that has. `?verify_ca=false` turns these checks off; the preflight warns of it.
//!
//! # How far it reads ahead, and what it may take
//! A background task decodes the log into a queue of [`BinlogSettings::buffer_bytes_max`] (16 MiB).
//! When the queue is full, the task stops reading, and the server waits with the rest of its log: a
//! slow consumer costs the server a connection and nothing else. A transaction of more than
//! [`BinlogSettings::part_changes_max`] changes or [`BinlogSettings::part_bytes_max`] bytes is
//! delivered in parts, so that its size does not matter.
//!
//! A single event may be as large as the server writes it, up to its `max_allowed_packet`; the
//! bound is [`BinlogSettings::event_bytes_max`]. The events of a compressed transaction are
//! decompressed one at a time, so that its size does not matter either.
//!
//! # Reading a file
//! [`BinlogFile`] decodes a file of the log without a server. It needs no GTIDs and prints tables
//! that no cache maps:
//!
//! ```no_run
//! use cachefront::binlog::BinlogFile;
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = std::fs::read("binlog.000042")?;
//! let file = BinlogFile::new(&bytes)?;
//! for transaction in file.inspect(&file.tables()?) {
//!     let transaction = transaction?;
//!     println!("{}: {} changes", transaction.gtid, transaction.changes.len());
//! }
//! # Ok(())
//! # }
//! ```

mod assemble;
mod builder;
mod charset;
mod column;
mod config;
mod conn;
mod cursor;
mod decode;
mod effects;
mod error;
mod event;
mod events;
mod file;
mod gate;
mod link;
mod mariadb;
mod metadata;
mod names;
mod origin;
mod position;
mod preflight;
mod probe;
mod queue;
mod reader;
mod rows;
mod rows_of;
mod schema;
#[cfg(test)]
mod scripted;
#[cfg(feature = "mysql-cdc")]
mod second;
mod source;
mod statement;
mod stream;
mod table;
mod temporary;
mod token;
mod upper_bound;
mod wire;
mod xa;

pub use builder::BinlogSourceBuilder;
pub use config::{BinlogSettings, Collations, RowDecoder};
pub use file::BinlogFile;
pub use gate::MySqlGate;
/// The driver, whose connections [`read_position`], [`commit_token`] and [`own_commit_token`] take. A service that uses this
/// export always has the right version.
pub use mysql_async;
pub use position::{read_fenced_position, read_position};
pub use source::BinlogSource;
pub use token::{commit_token, own_commit_token};
pub use upper_bound::{parse_owned, read_upper_bound};

/// The program of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
