//! MySQL's binary log as the change source of cachefront.
//!
//! [`BinlogSource`] follows the log of a MySQL server (8.0 and later, GTID on, row format) and hands every committed
//! change to the cache's invalidator. [`MySqlGate`] waits until commits can be read, since the log delivers them
//! before that. [`read_position`] and [`commit_token`] are for loaders and writers.
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
//! `log_bin`, `gtid_mode=ON`, `enforce_gtid_consistency=ON`, `binlog_format=ROW`, `binlog_row_image=FULL`, an empty
//! `binlog_row_value_options`; a user with `REPLICATION SLAVE`, `REPLICATION CLIENT` and `SELECT` on the mapped tables.
//! `binlog_row_metadata=FULL` is recommended: with it the log itself names the columns. The source's preflight checks
//! all that and names the SQL that fixes what it finds.
//!
//! A mapped table or column that does not exist, or that the user may not see, is refused, unless
//! [`BinlogSourceBuilder::allow_missing_tables`] says otherwise. The preflight can be run again at any time, also with some
//! of the tables only: after a change of a definition, or of the server.
//!
//! # One address, one server
//! The source, its probe and its gate have a connection each, and each reads `@@server_uuid`. If they reach different
//! servers (a load balancer, a reader endpoint, a name or virtual address that has moved), the log ends in a gap or the gate
//! reports an error; the probe connects again after [`BinlogSettings::probe_redial`] to notice it. After a failover the
//! address must lead to the new primary.
//!
//! # What is a gap, and what is not seen
//! What the log holds but can not be followed exactly is an error of kind `Gap`, after which everything cached is voided:
//! rows changed by statements, differences of JSON documents, images that lack a column that a mapping names, an
//! incident, a damaged or unknown event, a purged or foreign position. A session that sets its own `binlog_format`,
//! `binlog_row_image` or `binlog_row_value_options` is noticed in that way.
//!
//! What the log does not hold can not be seen: writes with `sql_log_bin=0`, and before MySQL 9.6 the rows that a foreign
//! key changes by cascade (the preflight warns of those).
//!
//! # TLS
//! `?require_ssl=true` in the URL turns on TLS with a checked certificate; [`BinlogSourceBuilder::tls_ca`] names the
//! authority. The server's *name* is checked too, so the certificate must name the host of the URL (or
//! [`BinlogSourceBuilder::tls_server_name`]) as a subject alternative name. The certificate that MySQL generates by
//! itself has none and can not pass: give the server one that does.

mod assemble;
mod config;
mod conn;
mod cursor;
mod decode;
mod error;
mod event;
mod file;
mod gate;
mod line;
mod metadata;
mod origin;
mod position;
mod preflight;
mod probe;
mod queue;
mod reader;
mod rows;
mod schema;
mod source;
mod statement;
mod stream;
mod table;
mod xa;

pub use config::{BinlogSettings, Collations};
pub use file::BinlogFile;
pub use gate::MySqlGate;
pub use position::{commit_token, read_position};
pub use source::{BinlogSource, BinlogSourceBuilder};

/// The program of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
