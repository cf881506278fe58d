//! The change source over MySQL's binary log.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cachefront_core::event::{Batch, Transaction, TransitTimes};
use cachefront_core::gate::VisibilityGate;
use cachefront_core::source::{BatchLimits, ChangeSource, Checkpoint, SourceProbe, TableFilter};
use cachefront_core::{Error, ErrorKind, Position, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::assemble::Assembler;
use crate::config::{BinlogSettings, Collations};
use crate::conn::{Server, Tls};
use crate::error;
use crate::gate::MySqlGate;
use crate::origin::Origin;
use crate::position::parse_executed;
use crate::preflight::{self, Rules};
use crate::probe::MySqlProbe;
use crate::queue::{End, Piece, Queue, State};
use crate::reader::Reader;
use crate::schema::Schema;
use crate::stream::{Identity, Stream};

/// Follows the binary log of a MySQL server by GTID.
///
/// A task of its own reads ahead, bounded by [`BinlogSettings::buffer_bytes_max`]; dropping the source ends it. Beside
/// the log's connection, the [probe](ChangeSource::probe) and the [gate](ChangeSource::gate) have one each.
///
/// The address must lead to one server at a time. Each connection names its server: if the log, the probe, or the gate
/// reaches another one than before, the log ends in a gap or the gate reports an error, and nothing is mixed.
///
/// Changes of rows come from row events only. DDL, TRUNCATE and RENAME become [`Change::Tables`]; what can not be
/// followed exactly (rows changed by statements, differences of JSON documents, a damaged or unknown event, a purged
/// log) is an error of kind [`Gap`](ErrorKind::Gap), never skipped.
///
/// [`Change::Tables`]: cachefront_core::event::Change::Tables
pub struct BinlogSource {
    server: Server,
    identity: Identity,
    settings: BinlogSettings,
    rules: Rules,
    /// The server that the address leads to.
    address: Arc<Origin>,
    /// Everything delivered by this stream so far.
    position: Position,
    running: Option<Running>,
    /// What earlier streams learnt about columns that the log does not name.
    schema: Schema,
    /// Where reading failed unforeseen: the second time at one place is not tried again.
    panicked_at: Option<Position>,
}

struct Running {
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

/// Sets up a [`BinlogSource`].
#[must_use]
pub struct BinlogSourceBuilder {
    url: String,
    tls: Result<Tls>,
    settings: BinlogSettings,
    rules: Rules,
    server_id: Option<u32>,
}

impl fmt::Debug for BinlogSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL holds the password.
        f.debug_struct("BinlogSourceBuilder")
            .field("settings", &self.settings)
            .field("rules", &self.rules)
            .field("server_id", &self.server_id)
            .finish_non_exhaustive()
    }
}

impl BinlogSourceBuilder {
    /// The numbers that the source is tuned by. Default: [`BinlogSettings::default`].
    pub fn settings(mut self, settings: BinlogSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The number under which the server lists this reader; not that of any server in the topology.
    /// Default: random, above 2³¹.
    pub fn server_id(mut self, server_id: u32) -> Self {
        self.server_id = Some(server_id);
        self
    }

    /// Turns on TLS, with the server's certificate checked against the authority in this file (PEM or DER).
    /// Default: TLS as the URL says, checked against the public authorities.
    pub fn tls_ca(mut self, ca_file: impl AsRef<Path>) -> Self {
        self.tls = self.tls.and_then(|tls| tls.with_ca_file(ca_file.as_ref()));
        self
    }

    /// Turns on TLS, and demands this name in the server's certificate, for servers behind a tunnel or an address.
    /// Default: the URL's host.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        if let Ok(tls) = &mut self.tls {
            tls.server_name = Some(name.into());
        }
        self
    }

    /// What to do about a mapped text column that takes unequal bytes for equal. Default: [`Collations::Refuse`].
    pub fn collations(mut self, collations: Collations) -> Self {
        self.rules.collations = collations;
        self
    }

    /// Starts although a mapped table or column does not exist, or the user may not see it: the preflight reports it and
    /// does not refuse. For tables that a later migration creates.
    ///
    /// Nothing is checked about such a table, and a name that is mistyped keeps its entries stale until their time to live
    /// ends. As long as a mapped column is missing, each change of its table voids the cache.
    /// Default: `false`.
    pub fn allow_missing_tables(mut self, allow: bool) -> Self {
        self.rules.allow_missing_tables = allow;
        self
    }

    /// Connects once, to find a wrong URL, user, password or certificate now.
    ///
    /// # Cancel safety
    /// Cancel safe: only the connection is lost.
    ///
    /// # Errors
    /// `Config` if a setting, the URL, the user, the password or the certificate is wrong; `Unavailable` or `Timeout`
    /// if the server can not be reached.
    pub async fn connect(self) -> Result<BinlogSource> {
        self.settings.validate()?;
        let server = Server::new(&self.url, &self.tls?, &self.settings)?;
        let conn = server.connect().await?;
        server.disconnect(conn).await;
        Ok(BinlogSource {
            server,
            identity: Identity::new(self.server_id),
            settings: self.settings,
            rules: self.rules,
            address: Arc::default(),
            position: Position::new(),
            running: None,
            schema: Schema::default(),
            panicked_at: None,
        })
    }
}

impl BinlogSource {
    /// What the server has purged from its log. Opened here, the source delivers everything that is left.
    ///
    /// # Cancel safety
    /// Cancel safe: only the connection is lost.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if the server can not be asked; `Config` if it has no GTIDs.
    pub async fn oldest(&self) -> Result<Position> {
        let mut conn = self.server.connect().await?;
        let query = conn.query_first::<String, _>("SELECT @@GLOBAL.gtid_purged");
        let purged = self.server.within("reading @@GLOBAL.gtid_purged", self.server.query_timeout(), query).await?;
        parse_executed(&purged.unwrap_or_default())
    }

    /// What in the server's settings keeps a reader of its log from being exact, as sentences with the SQL that fixes it;
    /// nothing if all is well. For those who read the log through another program, as through Debezium: this source's
    /// own preflight asks more.
    ///
    /// # Cancel safety
    /// Cancel safe: only the connection is lost.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if the server can not be reached.
    pub async fn server_findings(&self) -> Result<Vec<String>> {
        preflight::of_server(&self.server, &self.settings).await
    }

    /// A source over the server at `url`, with default settings.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`BinlogSourceBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// Begins to set up a source over the server at `url`: `mysql://user:password@host:3306/`.
    pub fn builder(url: impl Into<String>) -> BinlogSourceBuilder {
        BinlogSourceBuilder {
            url: url.into(),
            tls: Ok(Tls::default()),
            settings: BinlogSettings::default(),
            rules: Rules::default(),
            server_id: None,
        }
    }

    /// Ends the running stream, and keeps what it learnt about columns.
    async fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.task.abort();
        // An aborted or panicked reader takes what it learnt with it; it is looked up again.
        if let Ok(schema) = (&mut running.task).await {
            self.schema = schema;
        }
    }

    /// Reads the UUID of the server that a connection leads to, and whether its log names columns.
    async fn identify(&self, conn: &mut Conn) -> Result<(Box<str>, bool)> {
        let query = conn.query_first("SELECT @@GLOBAL.server_uuid, @@GLOBAL.binlog_row_metadata");
        let row = self.server.within("reading @@GLOBAL.server_uuid", self.server.query_timeout(), query).await?;
        let (uuid, metadata): (String, String) =
            row.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the server returned no @@GLOBAL.server_uuid"))?;
        Ok((uuid.into(), metadata == "FULL"))
    }

    /// Where the log does not name columns, they are looked up before the stream begins, so that few changes are
    /// older than the answer.
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

    /// A gap if the address has been found to lead to another server than the one that the log is read from: what that
    /// one commits is not in this log.
    fn check_origin(&self) -> Result<()> {
        match (self.running.as_ref(), self.address.uuid()) {
            (Some(running), Some(uuid)) if *running.origin != *uuid => Err(error::gap(format!(
                "the log is read from server {}, but {} leads to server {uuid} now",
                running.origin,
                self.server.address()
            ))),
            _ => Ok(()),
        }
    }

    /// How the stream ended, as it is to be reported.
    fn ended(&mut self, end: End) -> Error {
        // The server may be down, and the address may lead to another: nothing should go on asking the old one.
        self.address.renew();
        match end {
            End::Failed(error) => error,
            End::Panicked if self.panicked_at.as_ref() == Some(&self.position) => {
                error::gap("an event of the log can not be read, twice in a row at the same place")
            }
            End::Panicked => {
                self.panicked_at = Some(self.position.clone());
                Error::new(
                    ErrorKind::Unavailable,
                    "reading the log failed in an unforeseen way; it must be opened again",
                )
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
        preflight::run(&self.server, &self.address, filter, &self.settings, self.rules).await
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.stop().await;
        let mut conn = self.server.connect().await?;
        let (origin, names_columns) = self.identify(&mut conn).await?;
        // If it is another server than before, the probe and the gate connect again too.
        self.address.note(&origin);
        if !names_columns {
            self.look_up_columns(&mut conn, &origin, &from.position, filter).await?;
        }
        let (stream, first) = Stream::open(&self.server, conn, &self.identity, &from.position, &self.settings).await?;
        let schema = std::mem::take(&mut self.schema);
        let assembler = Assembler::new(filter.clone(), schema, &self.settings);
        let queue = Arc::new(Queue::new(self.settings.buffer_bytes_max));
        let reader = Reader::new(self.server.clone(), origin.clone(), stream, assembler, Arc::clone(&queue));
        self.position = from.position.clone();
        self.running = Some(Running { origin, queue, task: tokio::spawn(reader.run(first)) });
        Ok(())
    }

    fn origin(&self) -> Option<Box<str>> {
        self.running.as_ref().map(|running| running.origin.clone())
    }

    /// Ends the dump connection: a server lists and feeds it as long as it is there.
    async fn close(&mut self) {
        self.stop().await;
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let Some(queue) = self.running.as_ref().map(|running| Arc::clone(&running.queue)) else {
            return Err(Error::new(ErrorKind::Unavailable, "the log is not open: call `open` first"));
        };
        let deadline = Instant::now() + limits.wait_max;
        // Nothing is taken before the last await, so a dropped call loses nothing.
        let position = &mut self.position;
        loop {
            let ready = queue.with(|state| {
                pass_uninteresting(state, position);
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
        // The position lives in the cache's store; the server keeps none for its readers.
        Ok(())
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        let (address, redial) = (Arc::clone(&self.address), self.settings.probe_redial);
        Arc::new(MySqlProbe::new(self.server.clone(), address, redial))
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        Some(Arc::new(MySqlGate::at(self.server.clone(), Arc::clone(&self.address))))
    }
}

/// Moves the position over transactions at the queue's front in which nothing was of interest.
fn pass_uninteresting(state: &mut State, position: &mut Position) {
    while state.pieces.front().is_some_and(Piece::is_uninteresting) {
        if let Some(piece) = state.pop() {
            position.insert(&piece.gtid);
        }
    }
}

/// Waits until a whole batch is there, or for as long as the limits say.
async fn linger(queue: &Queue, limits: &BatchLimits) {
    let deadline = Instant::now() + limits.linger_max;
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

/// Takes what is there, up to the limits. The position moves with each complete transaction.
fn fill(state: &mut State, position: &mut Position, limits: &BatchLimits) -> Batch {
    let mut batch = Batch::default();
    let (mut changes, mut bytes) = (0, 0);
    while let Some(front) = state.pieces.front() {
        let room = limits.changes_max.max(1).saturating_sub(changes);
        let fits = front.changes.len() <= room;
        // One that would fit into a batch of its own is not torn apart for the sake of this one.
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
            position.insert(&piece.gtid);
        }
        add(&mut batch.transactions, piece);
    }
    batch
}

/// Adds a piece to the batch; parts of one transaction become one again.
fn add(transactions: &mut Vec<Transaction>, piece: Piece) {
    let uninteresting = piece.is_uninteresting();
    let Piece { gtid, committed_at, changes, complete, .. } = piece;
    if let Some(last) = transactions.last_mut()
        && !last.complete
        && last.gtid == gtid
    {
        last.changes.extend(changes);
        last.complete = complete;
    } else if !uninteresting {
        transactions.push(Transaction { gtid, committed_at, transit: TransitTimes::default(), changes, complete });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unforeseen_end_is_tried_again_once_and_then_a_gap() {
        let mut source = BinlogSource {
            server: Server::new("mysql://repl@db/", &Tls::default(), &BinlogSettings::default()).expect("a server"),
            identity: Identity::new(None),
            settings: BinlogSettings::default(),
            rules: Rules::default(),
            address: Arc::default(),
            position: "a:1-5".parse().expect("a position"),
            running: None,
            schema: Schema::default(),
            panicked_at: None,
        };
        let fall_over = async |source: &mut BinlogSource| {
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
            source.next_batch(&limits).await.expect_err("the reader fell over").kind()
        };
        assert_eq!(fall_over(&mut source).await, ErrorKind::Unavailable);
        assert_eq!(fall_over(&mut source).await, ErrorKind::Gap);
        source.position = "a:1-6".parse().expect("a position");
        assert_eq!(fall_over(&mut source).await, ErrorKind::Unavailable, "it had got further");
    }
}
