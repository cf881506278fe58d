//! The bus: a capped stream. Each reader has a connection of its own, and reports its loss as an error.
//!
//! An item has the id `<sequence>-0` and one field: `m` with an encoded message, or `s` for the mark at the start of a
//! stream. Sequences are contiguous, so a reader detects a gap by counting. The script that appends chooses the next
//! sequence; a new stream starts at the time in µs, so that a lost stream never seems to continue.
//!
//! Readers use `XREAD BLOCK` from the last sequence that they have seen. A message names the server that it was published
//! on. If that is not the server of the reader, one of them was left behind by a failover, and the reader fails.
//!
//! # What a reader sends and receives
//! `XREAD COUNT 256 BLOCK <bus_block in ms> STREAMS <stream> <sequence>-0` waits at the server
//! until there is an item after this sequence. The reply is nil if the time has passed, else one
//! stream with its items, in RESP2 as nested arrays and in RESP3 as a map:
//!
//! ```text
//! [[stream, [[b"1764417229000001-0", [b"m", message]],
//!            [b"1764417229000002-0", [b"m", message]]]]]
//! ```
//!
//! The layout of a message is described in [`message`].
//!
//! # Losing messages
//! The stream is cut to about `bus_messages_max` items (`MAXLEN ~`). A reader that is further
//! behind finds that the first sequence it gets is not the next one. It reports what it got; the
//! hub sees the gap and puts the process-local tiers in doubt until they are cleared. The same
//! happens after a flush of the server: the new stream begins at the time in µs, far above the last
//! sequence.
//!
//! Manual: `XREAD`, `XADD`, and "Redis Streams" at
//! <https://redis.io/docs/latest/develop/data-types/streams/>.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront_core::bus::{BusMessage, BusRead, BusReader, InvalidationBus};
use cachefront_core::store::ServerId;
use cachefront_core::{Error, Result};
use redis::{Cmd, RedisWrite, Value};
use tokio::sync::watch;

use crate::conn::{Connection, Purpose};
use crate::error::{Address, closed, is_redirect};
use crate::message;
use crate::route::{Route, Servers};
use crate::scripts::{self, HEAD, PUBLISH};
use crate::shared::Shared;

/// Maximum number of messages that one read returns.
const READ_MAX: usize = 256;

/// The bus of a store.
///
/// Publishing uses the readers' connection; each subscription opens one of its own, because a
/// blocked `XREAD` would hold up every other command on it.
pub(crate) struct RedisBus {
    shared: Arc<Shared>,
}

impl RedisBus {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

/// Builds the call that appends an encoded message, for a server with one of these replication ids.
pub(crate) fn append(shared: &Shared, replication_ids: &str, bytes: &[u8]) -> Cmd {
    let stream = shared.keys().stream();
    let mut command = PUBLISH.command(1, 3, stream.len() + bytes.len() + 64);
    command.write_arg(stream.as_bytes());
    command.write_arg(replication_ids.as_bytes());
    command.write_arg(bytes);
    command.arg(shared.settings.bus_messages_max);
    command
}

/// Returns the sequence of the message that was appended.
///
/// # Errors
/// `Unavailable` if the server is no longer the one that the connection was opened to.
pub(crate) fn appended(address: &Address, reply: Value) -> Result<u64> {
    match sequence(address, reply)? {
        0 => Err(server_changed(address)),
        sequence => Ok(sequence),
    }
}

/// The error of a connection whose server is not the one that it was opened to any more.
fn server_changed(address: &Address) -> Error {
    address.unavailable("is no longer the server that this connection was opened to")
}

/// Parses the sequence that a script returned.
///
/// Zero is a valid result here: the script `publish` returns it if the server was replaced.
fn sequence(address: &Address, reply: Value) -> Result<u64> {
    let number = match reply {
        Value::Int(number) => u64::try_from(number).ok(),
        _ => None,
    };
    number.ok_or_else(|| address.unexpected_reply("a script on the bus"))
}

#[async_trait]
impl InvalidationBus for RedisBus {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        let route = &self.shared.reads.route;
        let live = route.live(self.shared.keys().bus())?;
        let bytes = message::encode(live.server, message)?;
        let command = append(&self.shared, live.connection.identity.replication_id(), &bytes);
        let reply = self.shared.call_over(&live, &command).await?;
        appended(self.shared.address(), reply).inspect_err(|error| route.discard(&live, error))
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        let shared = Arc::clone(&self.shared);
        // No response timeout, because reads block at the server. `next` has a limit of its own.
        let (mut connection, server) = dial(&shared).await?;
        shared.follow(server);
        let stream = shared.keys().stream();
        let mut command = HEAD.command(1, 0, stream.len());
        command.write_arg(stream.as_bytes());
        let call = scripts::call(&mut connection.wire, &command);
        let address = shared.address();
        let reply = tokio::time::timeout(shared.settings.response_timeout, call).await;
        let reply = reply.map_err(|elapsed| address.timed_out("did not reply to a reader of the bus", elapsed))?;
        let head = sequence(address, address.check(reply.map_err(|error| address.error(&error))?)?)?;
        let readers_server = shared.reads.route.server();
        Ok(Box::new(RedisBusReader { shared, connection, server, readers_server, head, read: head }))
    }
}

/// Opens the connection of a reader of the bus. Returns the identity of what it follows too.
///
/// # Errors
/// The error of the connection; in a cluster also `Unavailable` if readers are on another node.
async fn dial(shared: &Shared) -> Result<(Connection, ServerId)> {
    match &shared.reads.route {
        Route::One(_) => {
            let Servers::One(dialer) = &shared.servers else { return Err(closed()) };
            let connection = dialer.dial(None, Purpose::Bus).await?;
            let server = connection.identity.server();
            Ok((connection, server))
        }
        Route::Cluster(cluster) => cluster.dial_bus(shared.keys().bus()).await,
    }
}

/// One subscription.
struct RedisBusReader {
    shared: Arc<Shared>,
    /// It is never replaced: its first error ends this reader.
    connection: Connection,
    /// The identity of what it follows: the server of the connection, or the set of nodes that it is one of.
    server: ServerId,
    /// The server that the readers' connection leads to.
    readers_server: watch::Receiver<ServerId>,
    /// The sequence at the end of the bus when the reader subscribed.
    head: u64,
    /// The sequence of the last message that was read.
    read: u64,
}

impl RedisBusReader {
    /// Waits for the next reply. Fails if readers are on another server, so that the caller subscribes again.
    ///
    /// The limit of one wait is `bus_block` plus `response_timeout`: the server has to reply at the
    /// end of the block in any case, so a longer silence is a lost connection.
    ///
    /// # Errors
    /// `Timeout` after that limit, `Unavailable` if readers went to another server or the
    /// connection was lost.
    async fn wait(&mut self) -> Result<Value> {
        let server = self.server;
        let settings = &self.shared.settings;
        let address = self.shared.address();
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(READ_MAX);
        // The server counts in whole milliseconds; the settings require at least one.
        command.arg("BLOCK").arg(u64::try_from(settings.bus_block.as_millis()).unwrap_or(u64::MAX).max(1));
        command.arg("STREAMS").arg(self.shared.keys().stream()).arg(format!("{}-0", self.read));
        let limit = settings.bus_block.saturating_add(settings.response_timeout);
        let elsewhere = |readers: &ServerId| *readers != ServerId::UNKNOWN && !server.is_same(*readers);
        tokio::select! {
            biased;
            // The store holds the sender, so the channel is open.
            _ = self.readers_server.wait_for(elsewhere) => {
                Err(address.unavailable("is another server for the bus than for readers"))
            }
            reply = tokio::time::timeout(limit, self.connection.send(&command)) => {
                let reply = reply.map_err(|elapsed| address.timed_out("did not reply to a reader of the bus", elapsed))?;
                reply.map_err(|error| {
                    if let Route::Cluster(cluster) = &self.shared.reads.route && is_redirect(&error) {
                        cluster.refresh();
                    }
                    address.error(&error)
                })
            }
        }
    }

    /// Parses a reply into its messages and the last sequence. The mark at the start of a stream is not a message.
    ///
    /// # Errors
    /// `Corrupt` if the reply or a message has another shape; `Unavailable` if a message was
    /// published on another server than the one that is read from.
    fn parse(&self, reply: Value) -> Result<(u64, Vec<BusRead>)> {
        let mut last = self.read;
        let mut reads = Vec::new();
        let address = self.shared.address();
        let unexpected = || address.unexpected_reply("XREAD");
        for item in items(reply).ok_or_else(unexpected)? {
            let (id, fields) = pair(item).ok_or_else(unexpected)?;
            last = sequence_of(&id).ok_or_else(unexpected)?;
            let mut fields = array(fields).ok_or_else(unexpected)?.into_iter();
            if let (Some(Value::BulkString(name)), Some(Value::BulkString(bytes))) = (fields.next(), fields.next())
                && name == b"m"
            {
                let sent = message::decode(&bytes).map_err(|error| {
                    let message = format!("the bus in Redis at {address} has a message that cannot be decoded");
                    Error::with_source(error.kind(), message, error)
                })?;
                // It was published on another server than the one that this connection was opened to.
                if !sent.server.is_same(self.server) {
                    // In a cluster another node may have been replaced, which readers have not noticed.
                    if let Route::Cluster(cluster) = &self.shared.reads.route {
                        cluster.refresh();
                    }
                    return Err(server_changed(address));
                }
                reads.push(BusRead { server: sent.server, sequence: last, message: sent.message });
            }
        }
        Ok((last, reads))
    }
}

#[async_trait]
impl BusReader for RedisBusReader {
    fn head(&self) -> u64 {
        self.head
    }

    fn server(&self) -> ServerId {
        self.server
    }

    async fn next(&mut self) -> Result<Vec<BusRead>> {
        loop {
            let reply = self.wait().await?;
            let (last, reads) = self.parse(reply)?;
            // Cancel safe: there is no `await` between advancing the position and returning the messages.
            self.read = last;
            if !reads.is_empty() {
                return Ok(reads);
            }
        }
    }
}

/// The items of the only stream in an `XREAD` reply; empty if the read timed out at the server. `None`, here and below, if
/// the reply has another shape.
fn items(reply: Value) -> Option<Vec<Value>> {
    match reply {
        Value::Nil => Some(Vec::new()),
        Value::Array(streams) => match streams.into_iter().next() {
            Some(stream) => array(pair(stream)?.1),
            None => Some(Vec::new()),
        },
        Value::Map(streams) => match streams.into_iter().next() {
            Some((_, items)) => array(items),
            None => Some(Vec::new()),
        },
        _ => None,
    }
}

/// The two parts of an array: a stream with its items, or an id with its fields.
fn pair(value: Value) -> Option<(Value, Value)> {
    let mut parts = array(value)?.into_iter();
    Some((parts.next()?, parts.next()?))
}

/// The elements of an array.
fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// The first half of an id `<milliseconds>-<sequence>`; this crate's ids always end in `-0`.
fn sequence_of(id: &Value) -> Option<u64> {
    let Value::BulkString(id) = id else {
        return None;
    };
    let (sequence, _) = std::str::from_utf8(id).ok()?.split_once('-')?;
    sequence.parse().ok()
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("namespace", &self.shared.keys().namespace()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisBusReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBusReader")
            .field("namespace", &self.shared.keys().namespace())
            .field("head", &self.head)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}
