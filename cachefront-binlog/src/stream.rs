//! The dump connection: the server's log from a position on, with a deadline for the next event or heartbeat.
//!
//! The request is `COM_BINLOG_DUMP_GTID`, see
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_binlog_dump_gtid.html>. The server then sends all
//! events of transactions that the requested position does not contain, and a heartbeat when it has none.
//!
//! # The request
//!
//! | bytes | field |
//! |---:|---|
//! | 1 | command, 0x1E |
//! | 2 | flags |
//! | 4 | `server_id` of the reader |
//! | 4 + n | name of a file, empty |
//! | 8 | offset, 4 |
//! | 4 | size of the rest |
//! | 8 | number of origins |
//! | 16 + 8 | for each origin: UUID, number of ranges |
//! | 8 + 8 | for each range: its first number, and the one after its last |
//!
//! Before it the session sets `@source_heartbeat_period` (ns) and `@replica_uuid`; MariaDB gets its
//! position in `@slave_connect_state` instead. The server checks that it has every transaction that
//! the set lacks. If some are purged, it returns error 1236, which is a gap.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use cachefront_core::clock::{Entropy, SystemEntropy};
use cachefront_core::{Error, ErrorKind, Position, Result};
use mysql_common::packets::ComRegisterSlave;
use mysql_common::packets::binlog_request::BinlogRequest;
use tokio::time::{Instant, Sleep};
use uuid::Builder;

use crate::config::BinlogSettings;
use crate::conn::Server;
use crate::error;
use crate::event::kind;
use crate::events::{Event, EventReader};
use crate::mariadb::{IDENTITY_PREFIX, event as mariadb, position::to_connect_state};
use crate::origin::wrong_server;
use crate::position::{POSITION, to_sids};
use crate::wire::{self, DriverResult, LogConn};

/// The identity of a reader. The server allows one reader for each replica UUID.
///
/// If two readers have one UUID, the server ends the older one's stream with error 1236.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) server_id: u32,
    pub(crate) replica_uuid: Box<str>,
}

impl Identity {
    /// Creates an identity with a random replica UUID: the server disconnects an older reader with the same UUID.
    ///
    /// Without a `server_id` a random one above 2^31 is used, which is unlikely to be one of a real
    /// replica.
    pub(crate) fn new(server_id: Option<u32>) -> Self {
        let random = SystemEntropy.random_u128();
        let replica_uuid = Builder::from_random_bytes(random.to_be_bytes()).into_uuid().to_string().into();
        Self { server_id: server_id.unwrap_or((random >> 96) as u32 | 1 << 31), replica_uuid }
    }
}

/// The events of the log.
pub(crate) struct Stream {
    server: Server,
    conn: LogConn,
    reader: EventReader,
    deadline: Duration,
    /// The deadline once the server has found the position: MariaDB sends nothing, not even a heartbeat, while it searches its log
    /// for it, besides what precedes the first transaction.
    after_search: Option<Duration>,
    /// Fires if the connection made no progress for one to two deadlines. It is reset only when it fires, because a reset for each event would
    /// cost more than reading the event. It is polled only while no event is ready, so a pause of the reader is not
    /// mistaken for an unresponsive server.
    alarm: Pin<Box<Sleep>>,
}

impl Stream {
    /// Requests all events after `from` from the server `origin`, and waits for the first one, so that a lost position is
    /// detected here.
    ///
    /// # Errors
    /// `Gap` if the position is purged or of another server, `Config` if the user may not read the
    /// log, `Timeout` if the server does not reply within `query_timeout`, or sends no event within `read_deadline` (MariaDB
    /// within `preflight_timeout`, if that is longer),
    /// `Unavailable` if the address leads to another server.
    pub(crate) async fn open(
        server: &Server,
        origin: &str,
        identity: &Identity,
        from: &Position,
        settings: &BinlogSettings,
    ) -> Result<(Self, Event)> {
        let mut conn = server.connect_log().await?;
        check(server, &mut conn, origin).await?;
        let set = variables(origin, identity, from, settings)?;
        server.within("preparing the log's stream", server.query_timeout(), conn.query(&set)).await?;
        let mut asked = BinlogRequest::new(identity.server_id);
        if !origin.starts_with(IDENTITY_PREFIX) {
            asked = asked.with_use_gtid(true).with_sids(to_sids(from)?);
        }
        let requesting = request(&mut conn, &asked);
        match tokio::time::timeout(server.query_timeout(), requesting).await {
            Ok(requested) => requested.map_err(|cause| error::stream(server.address(), server.user(), cause))?,
            Err(_) => return Err(unresponsive(server, server.query_timeout())),
        }
        let (deadline, after_search) = match origin.starts_with(IDENTITY_PREFIX) {
            true => (settings.read_deadline.max(settings.preflight_timeout), Some(settings.read_deadline)),
            false => (settings.read_deadline, None),
        };
        let alarm = Box::pin(tokio::time::sleep(deadline));
        let reader = EventReader::new(settings.event_bytes_max);
        let mut stream = Self { server: server.clone(), conn, reader, deadline, after_search, alarm };
        let first = stream.next().await?;
        Ok((stream, first))
    }

    /// Returns the next event.
    ///
    /// # Cancel safety
    /// Cancel safe: an event that has arrived is returned by the next call.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        // The events of a compressed transaction need no I/O: other tasks run in between.
        tokio::task::coop::consume_budget().await;
        if let Some(event) = self.reader.inside()? {
            return Ok(event);
        }
        loop {
            tokio::select! {
                biased;
                packet = self.conn.packet() => return self.accept(packet),
                () = &mut self.alarm => {
                    // A server sends no heartbeat while it sends a large event.
                    if !self.conn.take_progress() {
                        return Err(unresponsive(&self.server, self.deadline));
                    }
                    self.alarm.as_mut().reset(Instant::now() + self.deadline);
                }
            }
        }
    }

    /// Converts a packet: an event behind a zero byte, an error, or the end.
    fn accept(&mut self, packet: DriverResult<Bytes>) -> Result<Event> {
        let server = &self.server;
        let lost = |cause| error::stream(server.address(), server.user(), cause);
        let mut packet = packet.map_err(lost)?;
        if packet.first() == Some(&0) {
            packet.advance(1);
            let event = self.reader.read(packet)?;
            if !precedes_transactions(event.header.kind)
                && let Some(deadline) = self.after_search.take()
            {
                self.deadline = deadline;
                self.alarm.as_mut().reset(Instant::now() + deadline);
            }
            return Ok(event);
        }
        if wire::is_end(&packet) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("{} ended the log's stream: it is shutting down", server.address()),
            ));
        }
        Err(lost(wire::server_error(&packet).unwrap_or_else(|| wire::unexpected(&packet))))
    }
}

/// Checks that a connection leads to the server whose identity and columns were read on another one: the address may lead
/// to several servers, or have moved since.
async fn check(server: &Server, conn: &mut LogConn, origin: &str) -> Result<()> {
    let reading = server.within("reading @@GLOBAL.server_uuid", server.query_timeout(), conn.query(POSITION));
    let row = reading.await?.unwrap_or_default();
    match row.into_iter().nth(1).flatten() {
        Some(found) if found == origin => Ok(()),
        Some(found) => Err(wrong_server("the log's connection", server.address(), &found, origin)),
        None => Err(Error::new(ErrorKind::Unavailable, "the server returned no @@GLOBAL.server_uuid")),
    }
}

/// The variables of the session that the server `origin` reads before it sends its log.
fn variables(origin: &str, identity: &Identity, from: &Position, settings: &BinlogSettings) -> Result<String> {
    let nanos = settings.heartbeat.as_nanos();
    let uuid = &identity.replica_uuid;
    // Servers before 8.0.26 know only the older names. Without the checksum's variable a server sends no events that have one.
    let mut set = format!(
        "SET @source_heartbeat_period = {nanos}, @master_heartbeat_period = {nanos}, @replica_uuid = '{uuid}', \
         @slave_uuid = '{uuid}', @master_binlog_checksum = 'ALL'"
    );
    if origin.starts_with(IDENTITY_PREFIX) {
        // Without the capability the server hides its GTIDs from a replica that it takes for one of MySQL.
        set.push_str(", @mariadb_slave_capability = 4, @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0");
        set.push_str(&format!(", @slave_connect_state = '{}'", to_connect_state(from)?));
    }
    Ok(set)
}

/// Registers as a replica, and requests the log. The reply is the log.
///
/// # Errors
/// That of the server if it does not register the replica. A position that it cannot serve is the first packet of the log.
async fn request(conn: &mut LogConn, asked: &BinlogRequest<'_>) -> DriverResult<()> {
    conn.agreed(&ComRegisterSlave::new(asked.server_id())).await?;
    conn.command(&asked.as_cmd()).await
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The error of a stream without an event or heartbeat.
fn unresponsive(server: &Server, deadline: Duration) -> Error {
    let text = format!(
        "the log of {} sent no event and no heartbeat for {deadline:?}: the server or the network is frozen",
        server.address()
    );
    Error::new(ErrorKind::Timeout, text)
}

/// Returns true for events that MariaDB sends before it searches for the position.
fn precedes_transactions(event: u8) -> bool {
    use mariadb::kind::{BINLOG_CHECKPOINT, GTID_LIST, START_ENCRYPTION};
    matches!(event, kind::ROTATE | kind::FORMAT_DESCRIPTION | GTID_LIST | BINLOG_CHECKPOINT | START_ENCRYPTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Tls;
    use crate::scripted::{Scripted, UUID, bytes_of, payload_body};

    fn payload(unpacked: u64, packed: &[u8]) -> Vec<u8> {
        bytes_of(kind::TRANSACTION_PAYLOAD, 0, &payload_body(0, unpacked, packed))
    }

    async fn open(scripted: &Scripted, origin: &str, settings: &BinlogSettings) -> Result<Stream> {
        let server = Server::new(&scripted.url, &Tls::default(), settings).expect("a server");
        Stream::open(&server, origin, &Identity::new(None), &Position::new(), settings).await.map(|(stream, _)| stream)
    }

    /// Reads the events that a server sends, and returns how many came before the error.
    async fn read(events: Vec<Vec<u8>>, settings: BinlogSettings) -> (usize, Error) {
        let scripted = Scripted::serve(events).await;
        let (mut stream, mut count) = match open(&scripted, UUID, &settings).await {
            Ok(stream) => (stream, 1),
            Err(error) => return (0, error),
        };
        loop {
            match stream.next().await {
                Ok(_) => count += 1,
                Err(error) => return (count, error),
            }
        }
    }

    #[tokio::test]
    async fn a_damaged_size_of_a_compressed_transaction_takes_no_memory() {
        let events = [bytes_of(kind::QUERY, 0, &[0; 20]), bytes_of(kind::XID, 0, &[0; 8])].concat();
        let packed = zstd::encode_all(&events[..], 3).expect("compressed");
        let size = events.len() as u64;
        let settings = BinlogSettings::default();
        let (count, end) = read(vec![payload(size, &packed)], settings).await;
        assert_eq!((count, end.kind()), (3, ErrorKind::Unavailable), "its events, and the end: {end}");
        // More than the machine has, one byte too many, and an event too few, of which the rest would be lost.
        for (declared, expected) in [(1 << 50, 3), (size + 1, 3), (39, 2)] {
            let (count, error) = read(vec![payload(declared, &packed)], settings).await;
            assert_eq!((count, error.kind()), (expected, ErrorKind::Gap), "{declared}: {}", error.chain());
            assert!(error.chain().contains(&format!("it declares {declared} bytes")), "{}", error.chain());
        }
    }

    #[tokio::test]
    async fn an_event_above_the_limit_is_an_error_that_names_the_setting() {
        let settings = BinlogSettings::default().with_event_bytes_max(1_000);
        let large = bytes_of(kind::XID, 0, &[0; 2_000]);
        let (count, error) = read(vec![bytes_of(kind::XID, 0, &[0; 8]), large], settings).await;
        assert_eq!((count, error.kind()), (1, ErrorKind::Config), "{}", error.chain());
        assert!(error.to_string().contains("`event_bytes_max`"), "{error}");
    }

    #[tokio::test]
    async fn a_stream_of_another_server_is_refused() {
        let scripted = Scripted::serve(Vec::new()).await;
        let error = open(&scripted, "another", &BinlogSettings::default()).await.expect_err("another server");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(UUID) && error.to_string().contains("another"), "{error}");
    }

    #[tokio::test]
    async fn a_server_is_of_mysql_whatever_its_version_is() {
        for version in ["26.7.0", "10.0.1", "9.7.4"] {
            let scripted = Scripted::serve_as(version, vec![bytes_of(kind::XID, 0, &[0; 8])]).await;
            let server = Server::new(&scripted.url, &Tls::default(), &BinlogSettings::default()).expect("a server");
            let from = format!("{UUID}:1-5").parse().expect("a position");
            let settings = BinlogSettings::default();
            let opened = Stream::open(&server, UUID, &Identity::new(None), &from, &settings).await;
            assert!(opened.is_ok(), "{version}: {:?}", opened.err());
        }
    }

    #[tokio::test]
    async fn mariadb_may_search_for_the_position_longer_than_the_deadline() {
        let (heartbeat, deadline) = (Duration::from_millis(10), Duration::from_millis(50));
        let settings = BinlogSettings::default().with_heartbeat(heartbeat).with_read_deadline(deadline);
        let events = vec![bytes_of(kind::XID, 0, &[0; 8])];
        let scripted = Scripted::serve_late("mariadb-1-abc", deadline * 6, events.clone()).await;
        open(&scripted, "mariadb-1-abc", &settings).await.expect("it is still searching");
        let begins = vec![bytes_of(kind::ROTATE, 0, &[0; 12]), events[0].clone()];
        let late = Scripted::serve_late("mariadb-1-abc", deadline * 6, begins).await;
        let mut stream = open(&late, "mariadb-1-abc", &settings).await.expect("what precedes the first transaction");
        stream.next().await.expect("it is still searching");
        let impatient = settings.with_preflight_timeout(deadline);
        let error = open(&scripted, "mariadb-1-abc", &impatient).await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let frozen = Scripted::serve_late(UUID, deadline * 6, events).await;
        let error = open(&frozen, UUID, &settings).await.expect_err("a server of MySQL sends heartbeats");
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[test]
    fn every_source_has_an_identity_of_its_own() {
        let (first, second) = (Identity::new(None), Identity::new(None));
        assert_ne!(first.replica_uuid, second.replica_uuid);
        assert!(first.server_id >= 1 << 31);
        assert_eq!(first.replica_uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(Identity::new(Some(7)).server_id, 7);
    }
}
