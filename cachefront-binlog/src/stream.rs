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

use cachefront_core::clock::{Entropy, SystemEntropy};
use cachefront_core::{Error, ErrorKind, Position, Result};
use futures_util::StreamExt;
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::Event;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn};
use tokio::time::{Instant, Sleep};
use uuid::Builder;

use crate::config::BinlogSettings;
use crate::conn::Server;
use crate::error;
use crate::mariadb::is_mariadb;
use crate::mariadb::position::to_connect_state;
use crate::position::to_sids;

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
    events: BinlogStream,
    deadline: Duration,
    /// Fires if no event came for one to two deadlines. It is reset only when it fires, because a reset for each event would
    /// cost more than reading the event. It is polled only while no event is ready, so a pause of the reader is not
    /// mistaken for an unresponsive server.
    alarm: Pin<Box<Sleep>>,
    /// True if an event came since the alarm was reset.
    alive: bool,
}

impl Stream {
    /// Requests all events after `from` and waits for the first one, so that a lost position is detected here.
    ///
    /// # Errors
    /// `Gap` if the position is purged or of another server, `Config` if the user may not read the
    /// log, `Timeout` if the server does not reply within `query_timeout`.
    pub(crate) async fn open(
        server: &Server,
        mut conn: Conn,
        identity: &Identity,
        from: &Position,
        settings: &BinlogSettings,
    ) -> Result<(Self, Event)> {
        let mariadb = is_mariadb(&conn);
        let sids = if mariadb { Vec::new() } else { to_sids(from)? };
        let nanos = settings.heartbeat.as_nanos();
        let uuid = &identity.replica_uuid;
        // Servers before 8.0.26 know only the older names.
        let mut set = format!(
            "SET @source_heartbeat_period = {nanos}, @master_heartbeat_period = {nanos}, @replica_uuid = '{uuid}', \
             @slave_uuid = '{uuid}'"
        );
        if mariadb {
            // Without the capability the server hides its GTIDs from a replica that it takes for one of MySQL.
            set.push_str(
                ", @mariadb_slave_capability = 4, @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0",
            );
            set.push_str(&format!(", @slave_connect_state = '{}'", to_connect_state(from)?));
        }
        server.within("preparing the log's stream", server.query_timeout(), conn.query_drop(set)).await?;
        let mut request = BinlogStreamRequest::new(identity.server_id);
        if !mariadb {
            request = request.with_gtid().with_gtid_set(sids);
        }
        let opening = conn.get_binlog_stream(request);
        let events = match tokio::time::timeout(server.query_timeout(), opening).await {
            Ok(opened) => opened.map_err(|cause| error::stream(server.address(), server.user(), cause))?,
            Err(_) => return Err(unresponsive(server, server.query_timeout())),
        };
        let deadline = settings.read_deadline;
        let alarm = Box::pin(tokio::time::sleep(deadline));
        let mut stream = Self { server: server.clone(), events, deadline, alarm, alive: false };
        let first = stream.next().await?;
        Ok((stream, first))
    }

    /// Returns the next event.
    ///
    /// # Cancel safety
    /// Cancel safe: an event that has arrived is returned by the next call.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        loop {
            tokio::select! {
                biased;
                event = self.events.next() => {
                    self.alive = true;
                    return self.accept(event);
                }
                () = &mut self.alarm => {
                    if !std::mem::take(&mut self.alive) {
                        return Err(unresponsive(&self.server, self.deadline));
                    }
                    self.alarm.as_mut().reset(Instant::now() + self.deadline);
                }
            }
        }
    }

    /// Converts what the driver returned.
    fn accept(&self, event: Option<mysql_async::Result<Event>>) -> Result<Event> {
        let server = &self.server;
        match event {
            Some(Ok(event)) => verified(event),
            Some(Err(cause)) => Err(error::stream(server.address(), server.user(), cause)),
            None => Err(Error::new(
                ErrorKind::Unavailable,
                format!("{} ended the log's stream: it is shutting down", server.address()),
            )),
        }
    }
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

/// Verifies the checksum of an event, which the driver does not.
///
/// CRC32 over header and body, as zlib computes it.
pub(crate) fn verified(event: Event) -> Result<Event> {
    let footer = event.footer();
    if footer.get_checksum_enabled()
        && let Ok(Some(algorithm @ BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)) = footer.get_checksum_alg()
        && let Some(checksum) = event.checksum()
        && event.calc_checksum(algorithm) != u32::from_le_bytes(checksum)
    {
        return Err(error::gap("an event of the log does not match its checksum: the log is damaged"));
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_an_identity_of_its_own() {
        let (first, second) = (Identity::new(None), Identity::new(None));
        assert_ne!(first.replica_uuid, second.replica_uuid);
        assert!(first.server_id >= 1 << 31);
        assert_eq!(first.replica_uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(Identity::new(Some(7)).server_id, 7);
    }
}
