//! The bus: a capped stream, read over a connection of its own that is never replaced unnoticed.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront_core::bus::{BusMessage, BusRead, BusReader, InvalidationBus};
use cachefront_core::store::ServerId;
use cachefront_core::{Error, ErrorKind, Result};
use redis::{Cmd, RedisWrite, Value};
use tokio::sync::watch;

use crate::conn::{Connection, Purpose};
use crate::error::{Address, unexpected};
use crate::identity::Identity;
use crate::message;
use crate::scripts::{self, HEAD, PUBLISH};
use crate::store::Shared;

/// How many messages one read takes at most.
const READ_MAX: usize = 256;

pub(crate) struct RedisBus {
    shared: Arc<Shared>,
}

impl RedisBus {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

/// The call that appends a message over a connection to this server.
pub(crate) fn append(shared: &Shared, identity: &Identity, message: &BusMessage) -> Result<Cmd> {
    let stream = shared.reads.keys.stream();
    let bytes = message::encode(identity.server(), message)?;
    let mut command = PUBLISH.command(1, 3, stream.len() + bytes.len() + 64);
    command.write_arg(stream.as_bytes());
    command.write_arg(identity.replication_id().as_bytes());
    command.write_arg(&bytes);
    command.arg(shared.settings.bus_messages_max);
    Ok(command)
}

/// The sequence of what was appended; none if the server is no longer the one that the connection was made to.
pub(crate) fn appended(address: &Address, reply: Value) -> Result<u64> {
    match sequence(reply)? {
        0 => Err(moved(address)),
        sequence => Ok(sequence),
    }
}

fn moved(address: &Address) -> Error {
    let message = format!("Redis at {address} is no longer the server that this connection was made to");
    Error::new(ErrorKind::Unavailable, message)
}

/// The sequence that a script returned.
fn sequence(reply: Value) -> Result<u64> {
    match reply {
        Value::Int(sequence) => u64::try_from(sequence).map_err(|_| unexpected("a script on the bus")),
        _ => Err(unexpected("a script on the bus")),
    }
}

#[async_trait]
impl InvalidationBus for RedisBus {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        let link = &self.shared.reads.link;
        let live = link.live()?;
        let command = append(&self.shared, &live.connection.identity, message)?;
        let reply = self.shared.call_over(&live, &command).await?;
        appended(self.shared.dialer.address(), reply).inspect_err(|error| link.leave(&live, error))
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        let shared = Arc::clone(&self.shared);
        // No response timeout: a read that waits at the server is no fault. `next` has a limit of its own.
        let mut connection = shared.dialer.dial(None, Purpose::Bus).await?;
        shared.join(connection.identity.server());
        let stream = shared.reads.keys.stream();
        let mut command = HEAD.command(1, 0, stream.len());
        command.write_arg(stream.as_bytes());
        let asked = scripts::call(&mut connection.wire, &command);
        let address = shared.dialer.address();
        let reply = tokio::time::timeout(shared.settings.response_timeout, asked).await;
        let reply = reply.map_err(|elapsed| address.silent("did not reply to a reader of the bus", elapsed))?;
        let head = sequence(address.check(reply.map_err(|error| address.error(&error))?)?)?;
        let readers_server = shared.reads.link.server();
        Ok(Box::new(RedisBusReader { shared, connection, readers_server, head, read: head }))
    }
}

struct RedisBusReader {
    shared: Arc<Shared>,
    /// Never replaced: an error over it is an error of this reader.
    connection: Connection,
    /// Which server the readers' connection leads to.
    readers_server: watch::Receiver<ServerId>,
    head: u64,
    /// The sequence of the last message that was read.
    read: u64,
}

impl RedisBusReader {
    fn server(&self) -> ServerId {
        self.connection.identity.server()
    }

    /// The next reply, unless readers turn out to be on another server: then the bus is to be found again by its name.
    async fn wait(&mut self) -> Result<Value> {
        let server = self.server();
        let settings = &self.shared.settings;
        let address = self.shared.dialer.address();
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(READ_MAX);
        // The server waits for whole milliseconds; the settings allow no less than one.
        command.arg("BLOCK").arg(u64::try_from(settings.bus_block.as_millis()).unwrap_or(u64::MAX).max(1));
        command.arg("STREAMS").arg(self.shared.reads.keys.stream()).arg(format!("{}-0", self.read));
        let limit = settings.bus_block.saturating_add(settings.response_timeout);
        let elsewhere = |readers: &ServerId| *readers != ServerId::UNKNOWN && !server.is_same(*readers);
        tokio::select! {
            biased;
            // The store holds the sender, so it cannot be gone.
            _ = self.readers_server.wait_for(elsewhere) => {
                let message = format!("Redis at {address} is another server for the bus than for readers");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
            reply = tokio::time::timeout(limit, self.connection.send(&command)) => {
                let reply = reply.map_err(|elapsed| address.silent("did not reply to a reader of the bus", elapsed))?;
                reply.map_err(|error| address.error(&error))
            }
        }
    }

    /// The messages of a reply, and the sequence it ends at. Marks that begin a stream are not messages.
    fn parse(&self, reply: Value) -> Result<(u64, Vec<BusRead>)> {
        let mut last = self.read;
        let mut reads = Vec::new();
        for item in items(reply)? {
            let (id, fields) = pair(item)?;
            last = sequence_of(&id)?;
            let mut fields = array(fields)?.into_iter();
            if let (Some(Value::BulkString(name)), Some(Value::BulkString(bytes))) = (fields.next(), fields.next())
                && name == b"m"
            {
                let sent = message::decode(&bytes)?;
                // It was published on a server that this connection does not lead to, or did not when it was made.
                if !sent.server.is_same(self.server()) {
                    return Err(moved(self.shared.dialer.address()));
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

    async fn next(&mut self) -> Result<Vec<BusRead>> {
        loop {
            let reply = self.wait().await?;
            let (last, reads) = self.parse(reply)?;
            // No `await` from here on: what is counted as read is returned.
            self.read = last;
            if !reads.is_empty() {
                return Ok(reads);
            }
        }
    }
}

/// The items of the one stream in an `XREAD` reply; none if the wait ended without any.
fn items(reply: Value) -> Result<Vec<Value>> {
    match reply {
        Value::Nil => Ok(Vec::new()),
        Value::Array(streams) => match streams.into_iter().next() {
            Some(stream) => array(pair(stream)?.1),
            None => Ok(Vec::new()),
        },
        Value::Map(streams) => match streams.into_iter().next() {
            Some((_, items)) => array(items),
            None => Ok(Vec::new()),
        },
        _ => Err(unexpected("XREAD")),
    }
}

fn pair(value: Value) -> Result<(Value, Value)> {
    let mut parts = array(value)?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(first), Some(second)) => Ok((first, second)),
        _ => Err(unexpected("XREAD")),
    }
}

fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(unexpected("XREAD")),
    }
}

fn sequence_of(id: &Value) -> Result<u64> {
    let Value::BulkString(id) = id else {
        return Err(unexpected("XREAD"));
    };
    let text = std::str::from_utf8(id).ok().and_then(|id| id.split_once('-'));
    text.and_then(|(sequence, _)| sequence.parse().ok()).ok_or_else(|| unexpected("XREAD"))
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("namespace", &self.shared.reads.keys.namespace()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisBusReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBusReader")
            .field("namespace", &self.shared.reads.keys.namespace())
            .field("head", &self.head)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}
