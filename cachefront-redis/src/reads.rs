//! Reads: concurrent reads of single keys share one `MGET`, with the shard's meta first.
//!
//! The first reader that finds nobody waiting starts a task, which lets every other task that is ready run once, takes
//! what was asked for meanwhile, and sends one command. No timer is involved: a lone reader's command leaves at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cachefront_core::store::{Reading, ServerId};
use cachefront_core::{Result, StoreKey};
use redis::{Cmd, RedisWrite, Value};
use tokio::sync::oneshot;

use crate::error::{closed, unexpected};
use crate::keys::KeySpace;
use crate::link::Link;
use crate::meta::MetaCache;

/// What every reader and every batch of readers needs.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) link: Link,
    pub(crate) keys: KeySpace,
    pub(crate) metas: MetaCache,
    /// For each shard, the readers that wait for the next command.
    lanes: Box<[Mutex<Vec<Waiting>>]>,
    batch_max: usize,
}

#[derive(Debug)]
struct Waiting {
    key: StoreKey,
    answer: oneshot::Sender<Result<Reading>>,
}

impl Reads {
    pub(crate) fn new(link: Link, keys: KeySpace, batch_max: usize) -> Self {
        let shards = keys.shards();
        let lanes = (0..shards).map(|_| Mutex::default()).collect();
        Self { link, keys, metas: MetaCache::new(shards), lanes, batch_max }
    }

    /// No code panics while it holds the lock.
    fn lane(&self, shard: usize) -> MutexGuard<'_, Vec<Waiting>> {
        self.lanes[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads keys of one shard in one command; the readings are in the order of the keys.
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
        let mut live = self.link.live()?;
        let reply = live.connection.send(&command).await;
        let reply = reply.map_err(|error| self.link.failed(&live, &error))?;
        self.readings(shard, count, live.connection.identity.server(), reply)
    }

    fn readings(&self, shard: usize, count: usize, server: ServerId, reply: Value) -> Result<Vec<Reading>> {
        let Value::Array(values) = reply else {
            return Err(unexpected("MGET"));
        };
        if values.len() != count + 1 {
            return Err(unexpected("MGET"));
        }
        let mut values = values.into_iter();
        let meta = self.metas.read(shard, values.next().unwrap_or_default())?;
        values
            .map(|value| {
                let entry = match value {
                    Value::Nil => None,
                    Value::BulkString(bytes) => Some(bytes.into()),
                    _ => return Err(unexpected("MGET")),
                };
                Ok(Reading { server, meta: meta.clone(), entry })
            })
            .collect()
    }
}

/// Reads one key.
pub(crate) async fn get(reads: &Arc<Reads>, key: &StoreKey) -> Result<Reading> {
    let shard = reads.keys.shard_of(key);
    let (answer, answered) = oneshot::channel();
    let first = {
        let mut lane = reads.lane(shard);
        lane.push(Waiting { key: key.clone(), answer });
        lane.len() == 1
    };
    if first {
        // A task of its own: a reader that is dropped, or not polled any more, keeps nobody else waiting.
        let turn = Turn { reads: Arc::clone(reads), shard, taken: false };
        reads.link.runtime().spawn(turn.serve());
    }
    answered.await.unwrap_or_else(|_| Err(closed()))
}

/// The duty to answer those who wait in a lane. One that is dropped undone, because its runtime shuts down, lets them
/// go with an error.
struct Turn {
    reads: Arc<Reads>,
    shard: usize,
    taken: bool,
}

impl Turn {
    async fn serve(mut self) {
        tokio::task::yield_now().await;
        let mut batch = self.take();
        while batch.len() > self.reads.batch_max {
            let rest = batch.split_off(batch.len() - self.reads.batch_max);
            self.reads.link.runtime().spawn(answer(Arc::clone(&self.reads), self.shard, rest));
        }
        answer(Arc::clone(&self.reads), self.shard, batch).await;
    }

    fn take(&mut self) -> Vec<Waiting> {
        self.taken = true;
        let mut lane = self.reads.lane(self.shard);
        // As many are likely to wait next time.
        let room = Vec::with_capacity(lane.len());
        std::mem::replace(&mut *lane, room)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.taken {
            self.take();
        }
    }
}

async fn answer(reads: Arc<Reads>, shard: usize, batch: Vec<Waiting>) {
    // A reader that is gone by now does not mind; neither does `send`.
    match reads.fetch(shard, batch.iter().map(|waiting| &waiting.key)).await {
        Ok(readings) => {
            for (waiting, reading) in batch.into_iter().zip(readings) {
                let _ = waiting.answer.send(Ok(reading));
            }
        }
        Err(error) => {
            for waiting in batch {
                let _ = waiting.answer.send(Err(error.clone()));
            }
        }
    }
}
