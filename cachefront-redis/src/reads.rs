//! Reads: concurrent reads of single keys share one `MGET`, with the shard's meta first.
//!
//! The first reader that finds the queue of its shard empty starts a task. The task yields once, so that every other task
//! that is ready can enqueue its read, then takes the queue and sends one command. No timer is involved: the command of a
//! single reader is sent at once.
//!
//! # Why meta and entry come from one command
//! The server runs one command at a time, so an `MGET` shows the meta and the entries as they were
//! at one moment. Two commands could show an entry from before a flush under a meta from after it.
//! The cost is small: the meta of a shard is a few hundred bytes, and the parsed form is reused
//! while the bytes are equal ([`crate::meta`]).
//!
//! ```text
//! MGET {cf:shop:3}#meta {cf:shop:3}user:17 {cf:shop:3}user:42
//! ```

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cachefront_core::store::{Reading, ServerId};
use cachefront_core::{Error, Result, StoreKey};
use redis::{Cmd, RedisWrite, Value};
use tokio::sync::oneshot;
use tokio::time::error::Elapsed;

use crate::config::RedisSettings;
use crate::error::{closed, is_moving_error};
use crate::keys::KeySpace;
use crate::meta::MetaCache;
use crate::packed::Elements;
use crate::route::Route;

/// The connection, key names and queues that all readers share.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) route: Route,
    pub(crate) keys: KeySpace,
    pub(crate) metas: MetaCache,
    /// For each shard, the reads that the next command takes.
    queues: Box<[Mutex<Vec<PendingRead>>]>,
    /// Maximum number of reads in one command.
    batch_max: usize,
    /// How long a reader waits for a command.
    timeout: Duration,
    /// The connection is being checked, because a command took longer.
    checking: AtomicBool,
}

/// A read that waits for the next command.
///
/// The sender is dropped without a value only if the runtime of the store ends.
#[derive(Debug)]
struct PendingRead {
    key: StoreKey,
    reply: oneshot::Sender<Result<Reading>>,
}

impl Reads {
    pub(crate) fn new(route: Route, keys: KeySpace, settings: &RedisSettings) -> Self {
        let shards = keys.shards();
        let queues = (0..shards).map(|_| Mutex::default()).collect();
        let metas = MetaCache::new(route.address().clone(), shards);
        let (batch_max, timeout, checking) =
            (settings.read_batch_keys_max, settings.read_timeout, AtomicBool::new(false));
        Self { route, keys, metas, queues, batch_max, timeout, checking }
    }

    /// Waits for a reader's command to a shard, but not longer than a reader may. What comes after that is not waited for; the
    /// connection is checked, so that it is replaced if it is lost.
    ///
    /// # Errors
    /// `Timeout` after `read_timeout`, or the error of the call.
    ///
    /// # Cancel safety
    /// If it is dropped, the call is dropped too; a command that was sent is still run by the
    /// server.
    pub(crate) async fn within<T>(self: &Arc<Self>, shard: usize, call: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(outcome) => outcome,
            Err(elapsed) => {
                self.check(shard);
                Err(self.too_slow(elapsed))
            }
        }
    }

    /// Sends a command in the background, whose own timeout ends in a new connection. One check runs at a time.
    ///
    /// Without it a reader that leaves early would be the only one to know: the shared connection
    /// would stay in use until a command of `response_timeout` ends on it.
    fn check(self: &Arc<Self>, shard: usize) {
        if !self.checking.swap(true, Ordering::SeqCst) {
            let reads = Arc::clone(self);
            self.route.runtime().spawn(async move {
                // Its error has been handled where it was found.
                let _ = reads.fetch(shard, std::iter::empty()).await;
                reads.checking.store(false, Ordering::SeqCst);
            });
        }
    }

    /// The error of a reader that does not wait any longer.
    fn too_slow(&self, elapsed: Elapsed) -> Error {
        self.route.address().timed_out("did not reply to a reader", elapsed)
    }

    /// No code panics while it holds the lock.
    fn queue(&self, shard: usize) -> MutexGuard<'_, Vec<PendingRead>> {
        self.queues[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads keys of one shard in one command. The readings are in the order of the keys.
    ///
    /// # Errors
    /// `Unavailable` if there is no connection to the node of the shard, `Corrupt` if the reply has
    /// another shape, `Config` if the namespace has another number of shards.
    pub(crate) async fn fetch<'a, I>(&self, shard: usize, keys: I) -> Result<Vec<Reading>>
    where
        I: ExactSizeIterator<Item = &'a StoreKey> + Clone + Send,
    {
        let count = keys.len();
        let bytes: usize = keys.clone().map(|key| self.keys.name_bytes(shard, key)).sum();
        let meta = self.keys.meta(shard);
        let mut command = Cmd::with_capacity(count + 2, bytes + meta.len() + 4);
        command.write_arg(b"MGET");
        command.write_arg(meta.as_bytes());
        for key in keys {
            self.keys.write(&mut command, shard, key);
        }
        let mut live = self.route.live(shard)?;
        let reply = match live.connection.send(&command).await {
            Ok(reply) => reply,
            // The slot is being moved, and not all of it is here: without a meta nothing is served or kept, and no node failed.
            Err(error) if is_moving_error(&error) => Value::Array(vec![Value::Nil; count + 1]),
            Err(error) => return Err(self.route.failed(&live, &error)),
        };
        self.readings(shard, count, live.server, reply)
    }

    /// Splits the reply of an `MGET` into readings that share the meta. What one reply has in more than one entry is stored once:
    /// the meta, and the buffer of a packed reply.
    fn readings(&self, shard: usize, count: usize, server: ServerId, reply: Value) -> Result<Vec<Reading>> {
        let unexpected = || self.route.address().unexpected_reply("MGET");
        match reply {
            Value::BulkString(packed) => {
                let elements = Elements::of(packed).ok_or_else(unexpected)?;
                self.of_elements(shard, count, server, elements)
            }
            Value::Array(values) => {
                let elements = values.into_iter().map_while(|value| match value {
                    Value::Nil => Some(None),
                    Value::BulkString(bytes) => Some(Some(bytes.into())),
                    _ => None,
                });
                self.of_elements(shard, count, server, elements)
            }
            _ => Err(unexpected()),
        }
    }

    /// Makes readings of `count` entries that follow a meta.
    ///
    /// # Errors
    /// `Corrupt` if there are more or fewer.
    fn of_elements(
        &self,
        shard: usize,
        count: usize,
        server: ServerId,
        mut elements: impl Iterator<Item = Option<Bytes>>,
    ) -> Result<Vec<Reading>> {
        let unexpected = || self.route.address().unexpected_reply("MGET");
        let meta = elements.next().ok_or_else(unexpected)?.unwrap_or_default();
        let meta = self.metas.read_bytes(shard, &meta)?;
        let mut readings = Vec::with_capacity(count);
        readings.extend(elements.map(|entry| Reading { server, meta: meta.clone(), entry }));
        if readings.len() == count { Ok(readings) } else { Err(unexpected()) }
    }
}

/// Reads one key, together with other reads of its shard.
///
/// # Cancel safety
/// If the future is dropped before its command is sent, the key is still read and the reading is
/// dropped.
pub(crate) async fn get(reads: &Arc<Reads>, key: &StoreKey) -> Result<Reading> {
    let shard = reads.keys.shard_of(key);
    let (reply, reading) = oneshot::channel();
    let is_first = {
        let mut queue = reads.queue(shard);
        queue.push(PendingRead { key: key.clone(), reply });
        queue.len() == 1
    };
    if is_first {
        // A task of its own: the other reads go on even if this reader is dropped or not polled any more.
        let drain = Drain { reads: Arc::clone(reads), shard, taken: false };
        reads.route.runtime().spawn(drain.run());
    }
    reading.await.unwrap_or_else(|_| Err(closed()))
}

/// Drains the queue of one shard. If it is dropped before it ran, because the runtime shuts down, the pending reads fail
/// with `Closed`.
struct Drain {
    reads: Arc<Reads>,
    shard: usize,
    taken: bool,
}

impl Drain {
    /// The last batch is sent by this task and the others by tasks of their own. A longer `MGET`
    /// would hold up the server for all clients; `read_batch_keys_max` bounds it.
    async fn run(mut self) {
        tokio::task::yield_now().await;
        let mut batch = self.take();
        while batch.len() > self.reads.batch_max {
            let rest = batch.split_off(batch.len() - self.reads.batch_max);
            self.reads.route.runtime().spawn(send(Arc::clone(&self.reads), self.shard, rest));
        }
        send(Arc::clone(&self.reads), self.shard, batch).await;
    }

    /// Takes the queue.
    fn take(&mut self) -> Vec<PendingRead> {
        self.taken = true;
        let mut queue = self.reads.queue(self.shard);
        // The next batch is likely to have about the same length.
        let empty = Vec::with_capacity(queue.len());
        std::mem::replace(&mut *queue, empty)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if !self.taken {
            self.take();
        }
    }
}

/// Sends one batch and completes its reads. A reader that was dropped meanwhile does not receive its reading.
async fn send(reads: Arc<Reads>, shard: usize, batch: Vec<PendingRead>) {
    let (keys, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|pending| (pending.key, pending.reply)).unzip();
    let mut fetch = pin!(reads.fetch(shard, keys.iter()));
    match tokio::time::timeout(reads.timeout, &mut fetch).await {
        Ok(Ok(readings)) => {
            for (reply, reading) in replies.into_iter().zip(readings) {
                let _ = reply.send(Ok(reading));
            }
        }
        Ok(Err(error)) => fail(replies, &error),
        Err(elapsed) => {
            fail(replies, &reads.too_slow(elapsed));
            // The connection is replaced if there is no reply at all.
            let _ = fetch.await;
        }
    }
}

/// Completes reads with an error.
fn fail(replies: Vec<oneshot::Sender<Result<Reading>>>, error: &Error) {
    for reply in replies {
        let _ = reply.send(Err(error.clone()));
    }
}
