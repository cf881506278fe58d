//! The `ChangeSource` over MySQL's binary log.
//!
//! # How a batch is made
//! `next_batch` waits up to `wait_max` for the first transaction with a mapped change, then up to
//! `linger_max` for more, and takes transactions from the queue up to `changes_max` and
//! `bytes_max`. A transaction without a mapped change only advances the position: a server that
//! writes many of them costs no batch. Parts of one transaction that are in one batch are joined.
//!
//! The position of a batch has the transactions that are complete in it. One that continues in the
//! next batch is not in the position yet, so a failure in between delivers it again from its
//! beginning.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cachefront_core::event::{Batch, TableName, Transaction, TransitTimes};
use cachefront_core::gate::VisibilityGate;
use cachefront_core::source::{BatchLimits, ChangeSource, Checkpoint, SourceProbe, TableFilter};
use cachefront_core::{Error, ErrorKind, Position, Result};
use mysql_async::Conn;
use tokio::task::JoinHandle;

use crate::assemble::Assembler;
use crate::config::{BinlogSettings, RowDecoder, deadline_after};
use crate::conn::Server;
use crate::effects::Effects;
use crate::error;
use crate::gate::MySqlGate;
use crate::mariadb;
use crate::mariadb::position::insert;
use crate::names::{Casing, Names};
use crate::origin::Origin;
use crate::position::{POSITION, parse_executed};
use crate::preflight::{self, Rules};
use crate::probe::MySqlProbe;
use crate::queue::{End, Piece, Queue, State};
use crate::reader::Reader;
use crate::rows_of::RowsOf;
use crate::schema::Schema;
use crate::stream::{Identity, Stream};

/// Follows the binary log of a server of MySQL or MariaDB by GTID.
///
/// A background task reads ahead, up to [`BinlogSettings::buffer_bytes_max`]; it ends when the source is dropped. The
/// [probe](ChangeSource::probe) and the [gate](ChangeSource::gate) have a connection each, besides that of the log.
///
/// The address must lead to one server at a time. Each connection reads the UUID of its server. If the log, the probe or
/// the gate reaches another server than before, the log ends in a gap or the gate returns an error.
///
/// Row changes come from row events only. DDL, TRUNCATE, RENAME, and statements whose rows are not in the log become
/// [`Change::Tables`]. What cannot be followed exactly (a damaged or unknown event, a purged log) is an error of kind [`Gap`](ErrorKind::Gap) and is never skipped.
///
/// Start with [`BinlogSource::connect`] or [`BinlogSource::builder`].
///
/// [`Change::Tables`]: cachefront_core::event::Change::Tables
pub struct BinlogSource {
    pub(crate) server: Server,
    pub(crate) identity: Identity,
    pub(crate) settings: BinlogSettings,
    pub(crate) rules: Rules,
    pub(crate) decoder: RowDecoder,
    /// The server that the address leads to.
    pub(crate) origin: Arc<Origin>,
    /// All transactions that this stream has delivered, and those before it.
    pub(crate) position: Position,
    pub(crate) running: Option<Running>,
    /// Column names that earlier streams looked up because the log does not have them.
    pub(crate) schema: Schema,
    /// The position at which the reader panicked. A second panic at the same position is not retried.
    pub(crate) panicked_at: Option<Position>,
    /// Mapped tables that did not exist when they were checked last.
    pub(crate) missing: BTreeSet<TableName>,
}

/// An open stream and the task that reads it.
///
/// Dropping it ends the task and with it the connection.
pub(crate) struct Running {
    /// The UUID of the server that the log is read from.
    origin: Box<str>,
    queue: Arc<Queue>,
    task: JoinHandle<Schema>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for BinlogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BinlogSource")
            .field("server", &self.server)
            .field("identity", &self.identity)
            .field("position", &self.position)
            .field("running", &self.running.is_some())
            .finish_non_exhaustive()
    }
}

impl BinlogSource {
    /// Returns the position that the server has purged from its log. A source that is opened there delivers everything
    /// that is left.
    ///
    /// # Cancel safety
    /// Cancel safe: only the connection is lost.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if the server cannot be queried; `Config` if it has no GTIDs.
    pub async fn oldest(&self) -> Result<Position> {
        let mut conn = self.server.connect().await?;
        let limit = self.server.query_timeout();
        let asked = mariadb::is_mariadb(&mut conn);
        if self.server.within("asking which server it is", limit, asked).await? {
            return self.oldest_of_mariadb(conn).await;
        }
        let query = conn.first_of::<String, _>("SELECT @@GLOBAL.gtid_purged");
        let purged = self.server.within("reading @@GLOBAL.gtid_purged", limit, query).await?;
        parse_executed(&purged.unwrap_or_default())
    }

    /// The position at the beginning of MariaDB's first file.
    async fn oldest_of_mariadb(&self, mut conn: Conn) -> Result<Position> {
        let limit = self.server.query_timeout();
        let logs = conn.first_of::<mysql_async::Row, _>("SHOW BINARY LOGS");
        let first = self.server.within("listing the files of the log", limit, logs).await?;
        let file: String = first.and_then(|row| row.get_opt(0)?.ok()).unwrap_or_default();
        let state = conn.first_with::<Option<String>, _, _>("SELECT BINLOG_GTID_POS(?, 4)", (file,));
        let state = self.server.within("reading the beginning of the log", limit, state).await?;
        mariadb::position::parse(&state.flatten().unwrap_or_default())
    }

    /// Checks the server's settings, and returns each one that prevents an exact reader of the log, as a sentence with the
    /// SQL that fixes it. For programs that read the log by other means, such as Debezium: this source's own preflight
    /// checks more.
    ///
    /// # Cancel safety
    /// Cancel safe: only the connection is lost.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if the server cannot be reached.
    pub async fn server_findings(&self) -> Result<Vec<String>> {
        preflight::of_server(&self.server, &self.settings).await
    }

    /// Ends the running stream, and keeps the columns that it looked up.
    async fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.task.abort();
        // The lookups of an aborted or panicked reader are lost, and are repeated when they are needed.
        if let Ok(schema) = (&mut running.task).await {
            self.schema = schema;
        }
    }

    /// Reads the UUID of the server that a connection leads to, whether its log has column names, and how it compares names.
    async fn identify(&self, conn: &mut Conn) -> Result<(Box<str>, bool, Casing)> {
        let query = conn.first_of(format!("{POSITION}, @@GLOBAL.binlog_row_metadata, @@GLOBAL.lower_case_table_names"));
        let row = self.server.within("reading @@GLOBAL.server_uuid", self.server.query_timeout(), query).await?;
        let (_, uuid, metadata, casing): (String, String, String, u64) =
            row.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the server returned no @@GLOBAL.server_uuid"))?;
        Ok((uuid.into(), metadata == "FULL", Casing::of_server(casing)))
    }

    /// Looks up the columns of the mapped tables, for a log that does not have their names. This happens before the stream
    /// begins, so that few changes are older than the lookup.
    async fn look_up_columns(
        &mut self,
        conn: &mut Conn,
        origin: &str,
        from: &Position,
        filter: &TableFilter,
    ) -> Result<()> {
        for (table, _) in filter.iter() {
            if !self.schema.holds_after(table, from) {
                self.schema.read(conn, &self.server, origin, table).await?;
            }
        }
        Ok(())
    }

    /// Looks up what statements change besides the tables that they name. Without it each statement that changes rows flushes
    /// everything, which is no reason not to start.
    async fn look_up_effects(&self) -> Effects {
        let mut effects = Effects::default();
        if let Err(error) = effects.look_up(&self.server).await {
            tracing::warn!(error = %error.chain(), "triggers, views and foreign keys are unknown: each statement that changes rows flushes everything");
        }
        effects
    }

    /// Fails with a gap if the address leads to another server than the one whose log is read: this log does not have the
    /// commits of that server.
    fn check_origin(&self) -> Result<()> {
        match (self.running.as_ref(), self.origin.uuid()) {
            (Some(running), Some(uuid)) if *running.origin != *uuid => Err(error::gap(format!(
                "the log is read from server {}, but {} now leads to server {uuid}",
                running.origin,
                self.server.address()
            ))),
            _ => Ok(()),
        }
    }

    /// Converts the end of the stream into the error to return.
    fn ended(&mut self, end: End) -> Error {
        // The server may be down and the address may lead to another one, so probe and gate must reconnect too.
        self.origin.renew();
        match end {
            End::Failed(error) => error,
            End::Panicked if self.panicked_at.as_ref() == Some(&self.position) => {
                error::gap("reading an event of the log panicked twice in a row at the same position")
            }
            End::Panicked => {
                self.panicked_at = Some(self.position.clone());
                Error::new(ErrorKind::Unavailable, "reading the log panicked; it must be opened again")
            }
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { position: self.position.clone(), resume: Bytes::new() }
    }
}

#[async_trait]
impl ChangeSource for BinlogSource {
    fn describe(&self) -> String {
        format!("binlog of {}", self.server.address())
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        let missing = &mut self.missing;
        preflight::run(&self.server, &self.origin, filter, &self.settings, self.rules, missing).await
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.stop().await;
        let mut conn = self.server.connect().await?;
        let (origin, names_columns, casing) = self.identify(&mut conn).await?;
        let names = Names::new(filter.clone(), casing)?;
        // If it is another server than before, the probe and the gate reconnect too.
        self.origin.note(&origin);
        self.schema.continue_from(&from.position, &self.position, &origin, filter);
        // Also if opening fails: what is looked up now is valid for streams from here on.
        self.position = from.position.clone();
        if !names_columns {
            self.look_up_columns(&mut conn, &origin, &from.position, filter).await?;
        }
        let effects = self.look_up_effects().await;
        self.server.disconnect(conn).await;
        let opening = Stream::open(&self.server, &origin, &self.identity, &from.position, &self.settings);
        let (stream, first) = opening.await?;
        let schema = std::mem::take(&mut self.schema);
        let mut assembler = Assembler::new(names, schema, effects, &self.settings);
        assembler.expect_new(self.missing.iter().cloned());
        assembler.decode_rows_by(self.decoder);
        let queue = Arc::new(Queue::new(self.settings.buffer_bytes_max));
        let reader = Reader::new(self.server.clone(), origin.clone(), stream, assembler, Arc::clone(&queue));
        self.running = Some(Running { origin, queue, task: tokio::spawn(reader.run(first)) });
        Ok(())
    }

    fn origin(&self) -> Option<Box<str>> {
        self.running.as_ref().map(|running| running.origin.clone())
    }

    /// Ends the dump connection, which the server would otherwise keep and feed.
    async fn close(&mut self) {
        self.stop().await;
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let Some(queue) = self.running.as_ref().map(|running| Arc::clone(&running.queue)) else {
            return Err(Error::new(ErrorKind::Unavailable, "the log is not open: call `open` first"));
        };
        let deadline = deadline_after(limits.wait_max);
        // Cancel safe: nothing is taken from the queue before the last await.
        let position = &mut self.position;
        loop {
            let ready = queue.with(|state| {
                skip_unmapped(state, position);
                !state.pieces.is_empty() || state.end().is_some()
            });
            if ready || tokio::time::timeout_at(deadline, queue.arrived()).await.is_err() {
                break;
            }
        }
        if !limits.linger_max.is_zero() {
            linger(&queue, limits).await;
        }
        self.check_origin()?;
        let position = &mut self.position;
        let mut batch = queue.with(|state| fill(state, position, limits));
        if batch.transactions.is_empty()
            && let Some(end) = queue.with(|state| state.end().filter(|_| state.pieces.is_empty()).cloned())
        {
            return Err(self.ended(end));
        }
        batch.checkpoint = self.checkpoint();
        Ok(batch)
    }

    async fn acknowledge(&mut self, _checkpoint: &Checkpoint) -> Result<()> {
        // The position is kept in the cache's store; the server keeps no position for its readers.
        Ok(())
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        let (origin, redial) = (Arc::clone(&self.origin), self.settings.probe_redial);
        Arc::new(MySqlProbe::new(self.server.clone(), origin, redial))
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        Some(Arc::new(MySqlGate::at(self.server.clone(), Arc::clone(&self.origin))))
    }
}

/// Advances the position over transactions at the front of the queue that have no mapped change.
fn skip_unmapped(state: &mut State, position: &mut Position) {
    while state.pieces.front().is_some_and(Piece::is_unmapped) {
        if let Some(piece) = state.pop() {
            insert(position, &piece.gtid);
        }
    }
}

/// Waits until the queue has a full batch, up to `linger_max`.
async fn linger(queue: &Queue, limits: &BatchLimits) {
    let deadline = deadline_after(limits.linger_max);
    loop {
        let enough = queue.with(|state| {
            state.pieces.is_empty()
                || state.end().is_some()
                || state.changes() >= limits.changes_max
                || state.log_bytes() >= limits.bytes_max
        });
        if enough || tokio::time::timeout_at(deadline, queue.arrived()).await.is_err() {
            return;
        }
    }
}

/// Takes queued pieces up to the limits, and advances the position with each complete transaction.
fn fill(state: &mut State, position: &mut Position, limits: &BatchLimits) -> Batch {
    let mut batch = Batch::default();
    let (mut changes, mut bytes) = (0, 0);
    while let Some(front) = state.pieces.front() {
        let room = limits.changes_max.max(1).saturating_sub(changes);
        let fits = front.changes.len() <= room;
        // A piece that fits into a batch of its own is not split to fill this one.
        if !fits && (changes > 0 || bytes >= limits.bytes_max) || changes > 0 && bytes >= limits.bytes_max {
            break;
        }
        let Some(mut piece) = state.pop() else { break };
        if !fits {
            let rest = piece.changes.split_off(room);
            let bytes = std::mem::take(&mut piece.bytes);
            state.put_back(Piece { gtid: piece.gtid.clone(), changes: rest, bytes, continued: true, ..piece });
            piece.complete = false;
        }
        changes += piece.changes.len();
        bytes += piece.bytes;
        if piece.complete {
            insert(position, &piece.gtid);
        }
        add(&mut batch.transactions, piece);
    }
    batch
}

/// Adds a piece to the batch. Consecutive parts of one transaction are merged.
fn add(transactions: &mut Vec<Transaction>, piece: Piece) {
    let unmapped = piece.is_unmapped();
    let Piece { gtid, committed_at, changes, complete, visible, .. } = piece;
    if let Some(last) = transactions.last_mut()
        && !last.complete
        && last.gtid == gtid
    {
        last.changes.extend(changes);
        last.complete = complete && visible;
    } else if !unmapped {
        let (gtid, complete) = (gtid.clone(), complete && visible);
        transactions.push(Transaction { gtid, committed_at, transit: TransitTimes::default(), changes, complete });
    }
    if complete && !visible && !unmapped {
        // Images of a part give no values, and the end has none.
        let (transit, changes) = (TransitTimes::default(), Vec::new());
        transactions.push(Transaction { gtid, committed_at, transit, changes, complete });
    }
}

#[cfg(test)]
mod tests {
    use cachefront_core::Gtid;
    use cachefront_core::clock::Timestamp;
    use cachefront_core::event::Change;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_retried_once_and_then_a_gap() {
        let mut source = BinlogSource {
            server: Server::new("mysql://repl@db/", &crate::conn::Tls::default(), &BinlogSettings::default())
                .expect("a server"),
            identity: Identity::new(None),
            settings: BinlogSettings::default(),
            rules: Rules::default(),
            decoder: RowDecoder::Own,
            origin: Arc::default(),
            position: "a:1-5".parse().expect("a position"),
            running: None,
            schema: Schema::default(),
            panicked_at: None,
            missing: BTreeSet::new(),
        };
        let panic_once = async |source: &mut BinlogSource| {
            let queue = Arc::new(Queue::new(1));
            queue.close(End::Panicked);
            source.running =
                Some(Running { origin: "a".into(), queue, task: tokio::spawn(async { Schema::default() }) });
            let limits = BatchLimits {
                changes_max: 1,
                bytes_max: 1,
                wait_max: Default::default(),
                linger_max: Default::default(),
            };
            source.next_batch(&limits).await.expect_err("the reader panicked").kind()
        };
        assert_eq!(panic_once(&mut source).await, ErrorKind::Unavailable);
        assert_eq!(panic_once(&mut source).await, ErrorKind::Gap);
        source.position = "a:1-6".parse().expect("a position");
        assert_eq!(panic_once(&mut source).await, ErrorKind::Unavailable, "the position advanced in between");
    }

    #[test]
    fn a_transaction_whose_images_are_no_values_ends_with_an_empty_part() {
        let piece = |number: u64, changes: usize, complete: bool, visible: bool| {
            let change = Change::Tables { tables: Vec::new(), reason: String::new() };
            let (gtid, changes) = (Gtid { origin: "a".into(), number }, vec![change; changes]);
            Piece { gtid, committed_at: Timestamp::UNKNOWN, changes, complete, continued: false, bytes: 0, visible }
        };
        let shape = |pieces: Vec<Piece>| {
            let mut transactions = Vec::new();
            pieces.into_iter().for_each(|piece| add(&mut transactions, piece));
            let shape = transactions.iter().map(|own| (own.gtid.number, own.changes.len(), own.complete));
            shape.collect::<Vec<_>>()
        };
        assert_eq!(shape(vec![piece(1, 2, true, true)]), [(1, 2, true)]);
        assert_eq!(shape(vec![piece(1, 2, true, false)]), [(1, 2, false), (1, 0, true)]);
        let parts = vec![piece(1, 2, false, true), piece(1, 1, true, false), piece(2, 1, true, true)];
        assert_eq!(shape(parts), [(1, 3, false), (1, 0, true), (2, 1, true)]);
        assert_eq!(shape(vec![piece(1, 0, true, false)]), [], "only the position moves");
    }
}
