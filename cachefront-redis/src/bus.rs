//! The bus: a capped stream, read over a connection of its own that is never replaced unnoticed.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront_core::bus::{BusMessage, BusRead, BusReader, InvalidationBus};
use cachefront_core::{Error, ErrorKind, Result};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisWrite, Value};

use crate::error::{check, from_redis, unexpected};
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

/// The call that appends a message.
pub(crate) fn append(shared: &Shared, message: &BusMessage) -> Result<Cmd> {
    let stream = shared.reads.keys.stream();
    let bytes = message::encode(message)?;
    let mut command = PUBLISH.command(1, 2, stream.len() + bytes.len() + 16);
    command.write_arg(stream.as_bytes());
    command.write_arg(&bytes);
    command.arg(shared.settings.bus_messages_max);
    Ok(command)
}

/// The sequence that a script answered.
pub(crate) fn sequence(reply: Value) -> Result<u64> {
    match reply {
        Value::Int(sequence) => u64::try_from(sequence).map_err(|_| unexpected("a script on the bus")),
        _ => Err(unexpected("a script on the bus")),
    }
}

#[async_trait]
impl InvalidationBus for RedisBus {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        sequence(self.shared.call(&append(&self.shared, message)?).await?)
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        // No response timeout: a read that waits at the server is no fault. `next` has a limit of its own.
        let mut connection = self.shared.dialer.dial(None).await?;
        let stream = self.shared.reads.keys.stream();
        let mut command = HEAD.command(1, 0, stream.len());
        command.write_arg(stream.as_bytes());
        let asked = scripts::call(&mut connection, &command);
        let reply = tokio::time::timeout(self.shared.settings.response_timeout, asked).await.map_err(silent)?;
        let head = sequence(check(reply.map_err(from_redis)?)?)?;
        Ok(Box::new(RedisBusReader { shared: Arc::clone(&self.shared), connection, head, read: head }))
    }
}

struct RedisBusReader {
    shared: Arc<Shared>,
    /// Never replaced: an error over it is an error of this reader.
    connection: MultiplexedConnection,
    head: u64,
    /// The sequence of the last message that was read.
    read: u64,
}

impl RedisBusReader {
    async fn wait(&mut self) -> Result<Value> {
        let settings = &self.shared.settings;
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(READ_MAX);
        // The server waits for whole milliseconds; the settings allow no less than one.
        command.arg("BLOCK").arg(u64::try_from(settings.bus_block.as_millis()).unwrap_or(u64::MAX).max(1));
        command.arg("STREAMS").arg(self.shared.reads.keys.stream()).arg(format!("{}-0", self.read));
        let limit = settings.bus_block.saturating_add(settings.response_timeout);
        let reply = tokio::time::timeout(limit, self.connection.send_packed_command(&command)).await.map_err(silent)?;
        check(reply.map_err(from_redis)?)
    }

    /// The messages of a reply, and the sequence it ends at. Marks that begin a stream are no messages.
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
                reads.push(BusRead { sequence: last, message: message::decode(&bytes)? });
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
            // No `await` from here on: what is counted as read is answered.
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

fn silent(elapsed: tokio::time::error::Elapsed) -> Error {
    Error::with_source(ErrorKind::Timeout, "Redis did not answer a reader of the bus in time", elapsed)
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
