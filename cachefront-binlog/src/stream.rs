//! The dump connection: the server's log from a position on, with a deadline for the next sign of life.

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

use crate::config::BinlogSettings;
use crate::conn::Server;
use crate::error;
use crate::position::to_sids;

/// As whom a source reads: the server allows one reader for each replica UUID.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) server_id: u32,
    pub(crate) replica_uuid: Box<str>,
}

impl Identity {
    /// A replica UUID that no other reader has: the server ends an older reader of the same UUID.
    pub(crate) fn new(server_id: Option<u32>) -> Self {
        let random = SystemEntropy.random_u128();
        // The version and variant bits of a random UUID.
        let uuid = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{uuid:032x}");
        let parts: Vec<&str> =
            [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().filter_map(|range| hex.get(range)).collect();
        Self { server_id: server_id.unwrap_or((random >> 96) as u32 | 1 << 31), replica_uuid: parts.join("-").into() }
    }
}

/// The log's events, one after the other.
pub(crate) struct Stream {
    server: Server,
    events: BinlogStream,
    deadline: Duration,
    /// Fires when no event came for one to two deadlines. Set again only when it fires, since setting it for each
    /// event would cost more than reading the event. It is looked at only while no event is there, so a pause of our
    /// own in reading is never taken for the server's silence.
    alarm: Pin<Box<Sleep>>,
    /// An event came since the alarm was set.
    alive: bool,
}

impl Stream {
    /// Asks for everything after `from`, and waits for the first event, so that a lost position is found here.
    pub(crate) async fn open(
        server: &Server,
        mut conn: Conn,
        identity: &Identity,
        from: &Position,
        settings: &BinlogSettings,
    ) -> Result<(Self, Event)> {
        let sids = to_sids(from)?;
        let nanos = settings.heartbeat.as_nanos();
        let uuid = &identity.replica_uuid;
        // Both spellings: servers before 8.0.26 know the older names only.
        let set = format!(
            "SET @source_heartbeat_period = {nanos}, @master_heartbeat_period = {nanos}, @replica_uuid = '{uuid}', \
             @slave_uuid = '{uuid}'"
        );
        server.within("preparing the log's stream", server.query_timeout(), conn.query_drop(set)).await?;
        let request = BinlogStreamRequest::new(identity.server_id).with_gtid().with_gtid_set(sids);
        let opening = conn.get_binlog_stream(request);
        let events = match tokio::time::timeout(server.query_timeout(), opening).await {
            Ok(opened) => opened.map_err(|cause| error::stream(server.address(), server.user(), cause))?,
            Err(_) => return Err(silent(server, server.query_timeout())),
        };
        let deadline = settings.read_deadline;
        let alarm = Box::pin(tokio::time::sleep(deadline));
        let mut stream = Self { server: server.clone(), events, deadline, alarm, alive: false };
        let first = stream.next().await?;
        Ok((stream, first))
    }

    /// The next event.
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
                        return Err(silent(&self.server, self.deadline));
                    }
                    self.alarm.as_mut().reset(Instant::now() + self.deadline);
                }
            }
        }
    }

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

fn silent(server: &Server, deadline: Duration) -> Error {
    let text = format!(
        "the log of {} sent no sign of life for {deadline:?}: the server or the network is frozen",
        server.address()
    );
    Error::new(ErrorKind::Timeout, text)
}

/// Compares an event with its checksum; the driver does not.
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
    fn every_source_is_a_reader_of_its_own() {
        let (first, second) = (Identity::new(None), Identity::new(None));
        assert_ne!(first.replica_uuid, second.replica_uuid);
        assert!(first.server_id >= 1 << 31);
        assert_eq!(first.replica_uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(Identity::new(Some(7)).server_id, 7);
    }
}
