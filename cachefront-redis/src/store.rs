//! The `Store` implementation: which command each method sends.
//!
//! Every method works on the keys of one shard, which share a hash tag: what a script compares and
//! what it writes is on the same node of a cluster, and one script is one atomic step of the
//! server.
//!
//! | method | command | keys |
//! |---|---|---|
//! | `get`, `peek` | `MGET`, shared by concurrent readers ([`reads`]) | meta, entries |
//! | `get_many` | one `MGET` per shard and per `keys_per_command_max` keys | meta, entries |
//! | `lease` | script `lease`; if it finds a value, `MGET` | meta, entry |
//! | `fill` | script `fill` | meta, entry |
//! | `release` | script `release` | entry |
//! | `entry_changed` | `GETRANGE` over a connection with `CLIENT TRACKING ON` | entry |
//! | `discard` | `UNLINK` | entries |
//! | `discard_cache` | `SCAN`, then `UNLINK` | entries |
//! | `covered` | `GET`, once per shard | meta |
//! | `flush_caches`, `suspend` | the scripts of these names, once per shard | meta |
//!
//! A reader's command has two limits. After `read_timeout` the reader gets an error of kind
//! `Timeout` and loads from the database; the command goes on. After `response_timeout` the
//! connection counts as lost and is replaced.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cachefront_core::bus::{Hub, InvalidationBus};
use cachefront_core::entry::{Entry, Header, PayloadState};
use cachefront_core::store::{
    Coverage, Fill, FillReply, Generation, InvalidationMode, LeaseReply, LeaseRequest, MappingId, Reading, Refusal,
    ServerId, Store, StoreWriter, Token, transition,
};
use cachefront_core::{Error, ErrorKind, Result, StoreKey, Timestamp};
use futures_util::future::{join_all, try_join_all};
use redis::{Cmd, RedisWrite, Value};

use crate::bus::RedisBus;
use crate::reads;
use crate::scripts::{FILL, FLUSH_CACHES, LEASE, RELEASE, SUSPEND, Script};
use crate::shared::{Shared, unlink};
use crate::writer::RedisWriter;

/// Maximum number of attempts to take a lease. An attempt is repeated if the script found a usable entry that was gone
/// when it was read.
const LEASE_ATTEMPTS_MAX: usize = 3;

/// The shared store in a Redis or Valkey server. Clones use the same connections.
///
/// Readers share one connection. If it is lost, it is replaced in the background, and reads fail at once until then.
/// Concurrent [`get`](Store::get)s are sent as one `MGET`. Each invalidator and each reader of the bus has a connection
/// of its own, whose loss it reports as an error.
///
/// The first [`peek`](Store::peek) opens one more connection, with `CLIENT NO-TOUCH ON`, so that peeks do not change what
/// the server evicts. Redis before 7.2 does not know that command; there a peek counts as a use.
///
/// The URL must lead to a primary. A connection to a replica is refused and tried again. Each connection records the run
/// id and replication id of its server. If readers and the bus are on different servers, as after a failover, both
/// reconnect; until they agree, no value is kept in a process-local tier.
///
/// Start with [`RedisStore::connect`] or [`RedisStore::builder`].
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) shared: Arc<Shared>,
}

impl RedisStore {
    /// Starts a call that compares with the meta and touches one key; the caller appends the arguments.
    ///
    /// `args` is the number of these arguments and `bytes` their length in total. Both only size
    /// the buffer of the command.
    fn command_for(&self, script: &Script, key: &StoreKey, args: usize, bytes: usize) -> Cmd {
        let keys = self.shared.keys();
        let shard = keys.shard_of(key);
        let meta = keys.meta(shard);
        let mut command = script.command(2, args, bytes + meta.len() + keys.name_bytes(shard, key));
        command.write_arg(meta.as_bytes());
        keys.write(&mut command, shard, key);
        command
    }

    /// Reads the entry that the lease script found usable. Returns `None` if it is gone or not usable any more.
    ///
    /// The reply of the script does not contain the value, because scripts read headers only:
    /// copying a payload through Lua costs as much as the read itself.
    async fn present(&self, request: &LeaseRequest<'_>) -> Result<Option<LeaseReply>> {
        let shard = self.shared.keys().shard_of(request.key);
        let reads = &self.shared.reads;
        let reading = reads.within(shard, reads.fetch(shard, std::iter::once(request.key))).await?.pop();
        let Some(Reading { meta, entry: Some(entry), .. }) = reading else {
            return Ok(None);
        };
        // The script has just compared the hard expiry, by the server's clock.
        let good = Entry::decode(entry.clone()).is_ok_and(|decoded| {
            let (meta, now) = (meta.as_deref(), Timestamp::UNKNOWN);
            let (mode, mapping) = (request.mode, request.mapping);
            transition::is_good(meta, &decoded.header, mode, mapping, request.schema_version, now)
        });
        Ok(good.then_some(LeaseReply::Present { meta, entry }))
    }

    /// The error of a reply that does not have the documented shape.
    fn unexpected(&self, command: &'static str) -> Error {
        self.shared.address().unexpected_reply(command)
    }
}

#[async_trait]
impl Store for RedisStore {
    fn namespace(&self) -> &str {
        self.shared.keys().namespace()
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        reads::get(&self.shared.reads, key).await
    }

    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        // While the readers' connection is lost, no connection is opened for a peek.
        self.shared.reads.route.live(self.shared.keys().shard_of(key))?;
        reads::get(&self.shared.peeks().await?, key).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        let max = self.shared.settings.keys_per_command_max;
        if self.shared.keys().shards() == 1 && keys.len() <= max {
            return self.shared.reads.within(0, self.shared.reads.fetch(0, keys.iter())).await;
        }
        let mut readings = vec![None; keys.len()];
        let by_shard = self.shared.keys().by_shard(keys);
        let commands = by_shard.iter().flat_map(|(shard, keys)| keys.chunks(max).map(move |chunk| (*shard, chunk)));
        let fetched = commands.map(|(shard, chunk)| async move {
            let reads = &self.shared.reads;
            (chunk, reads.within(shard, reads.fetch(shard, chunk.iter().map(|(_, key)| *key))).await)
        });
        let fetched = join_all(fetched).await;
        // A node that is away costs its own keys: they are misses, and nothing can be stored there. Where nothing was
        // read, the store is away.
        let some = self.shared.reads.route.is_cluster() && fetched.iter().any(|(_, outcome)| outcome.is_ok());
        for (chunk, outcome) in fetched {
            match outcome {
                Ok(fetched) => {
                    for ((index, _), reading) in chunk.iter().zip(fetched) {
                        readings[*index] = Some(reading);
                    }
                }
                Err(error) if some && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
                    tracing::debug!(error = %error.chain(), keys = chunk.len(), "the keys of one shard cannot be read");
                    for (index, _) in chunk {
                        readings[*index] = Some(Reading { server: ServerId::UNKNOWN, meta: None, entry: None });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        readings.into_iter().map(|reading| reading.ok_or_else(|| self.unexpected("MGET"))).collect()
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        let header = lease_only(request);
        let duration_us = micros(request.duration);
        let mut command = self.command_for(&LEASE, request.key, 4, header.len() + 48);
        command.write_arg(&header);
        command.arg(duration_us).arg(u8::from(request.reload));
        command.write_arg(&request.mapping.0.to_be_bytes());
        for _ in 0..LEASE_ATTEMPTS_MAX {
            let shard = self.shared.keys().shard_of(request.key);
            let live = self.shared.reads.route.live(shard)?;
            let reply = self.shared.reads.within(shard, self.shared.call_over(&live, &command)).await?;
            let Value::Array(reply) = reply else {
                return Err(self.unexpected("the lease script"));
            };
            let mut reply = reply.into_iter();
            return Ok(match (reply.next(), reply.next()) {
                (Some(Value::Int(0)), None) => LeaseReply::NoMeta,
                (Some(Value::Int(1)), Some(meta)) => {
                    let meta = self.shared.reads.metas.read(shard, meta)?;
                    LeaseReply::Granted { server: live.server, meta }
                }
                (Some(Value::Int(2)), None) => match self.present(request).await? {
                    Some(present) => present,
                    None => continue,
                },
                (Some(Value::Int(3)), Some(Value::Int(micros))) => {
                    LeaseReply::Held { remaining: Duration::from_micros(u64::try_from(micros).unwrap_or_default()) }
                }
                (Some(Value::Int(4)), None) => LeaseReply::NotCovered,
                _ => return Err(self.unexpected("the lease script")),
            });
        }
        // Entries come and go faster than they can be read: the caller waits and tries again.
        Ok(LeaseReply::Held { remaining: Duration::ZERO })
    }

    async fn entry_changed(&self, key: &StoreKey) -> Result<()> {
        let shard = self.shared.keys().shard_of(key);
        let live = self.shared.reads.route.live(shard)?;
        let (server, dialer) = (live.connection.identity.server(), self.shared.dialer_to(&live)?);
        let name = self.shared.keys().name(shard, key);
        self.shared.pushes.entry_changed(server, dialer, self.shared.reads.route.runtime(), name).await
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        let mut command = self.command_for(&FILL, fill.key, 5, fill.entry.len() + 64);
        command.write_arg(&fill.token.as_u128().to_be_bytes());
        command.arg(match fill.mode {
            InvalidationMode::Cdc => 0,
            InvalidationMode::Ttl => 1,
        });
        command.write_arg(&fill.generation.0.to_be_bytes());
        command.arg(micros(fill.expiry).div_ceil(1_000).max(1));
        command.write_arg(fill.entry);
        let shard = self.shared.keys().shard_of(fill.key);
        match self.shared.reads.within(shard, self.shared.call(shard, &command)).await? {
            Value::Int(0) => Ok(FillReply::Stored),
            Value::Int(1) => Ok(FillReply::Refused(Refusal::NoMeta)),
            Value::Int(2) => Ok(FillReply::Refused(Refusal::GenerationChanged)),
            Value::Int(3) => Ok(FillReply::Refused(Refusal::LeaseBroken)),
            _ => Err(self.unexpected("the fill script")),
        }
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        let shard = self.shared.keys().shard_of(key);
        let mut command = RELEASE.command(1, 1, self.shared.keys().name_bytes(shard, key) + 16);
        self.shared.keys().write(&mut command, shard, key);
        command.write_arg(&token.as_u128().to_be_bytes());
        self.shared.reads.within(shard, self.shared.call(shard, &command)).await.map(drop)
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        let pipelines = unlink(self.shared.keys(), keys, self.shared.settings.keys_per_command_max);
        try_join_all(pipelines.iter().map(|(shard, pipeline)| self.shared.call_all(*shard, pipeline))).await.map(drop)
    }

    async fn discard_cache(&self, cache: &str) -> Result<()> {
        self.discard_entries_of(cache).await
    }

    async fn covered(&self) -> Result<Coverage> {
        let read = |(shard, meta): (usize, &str)| {
            let mut command = redis::cmd("GET");
            command.arg(meta);
            async move {
                let reply = self.shared.send_over(&mut self.shared.reads.route.live(shard)?, &command).await?;
                self.shared.reads.metas.read(shard, reply)
            }
        };
        let metas = try_join_all(self.shared.keys().metas().enumerate().map(read)).await?;
        Ok(Coverage::union(metas.iter().flatten().map(|meta| &meta.coverage)))
    }

    async fn flush_caches(&self, rows: &[(MappingId, Generation)]) -> Result<()> {
        let flush = |(shard, meta): (usize, &str)| {
            let mut command = FLUSH_CACHES.command(1, rows.len(), meta.len() + 48 * rows.len());
            command.write_arg(meta.as_bytes());
            for (mapping, generation) in rows {
                command.write_arg(&[mapping.0.to_be_bytes(), generation.0.to_be_bytes()].concat());
            }
            async move { self.shared.call(shard, &command).await }
        };
        // Every shard that can be reached is flushed, also if another one cannot.
        let outcomes = join_all(self.shared.keys().metas().enumerate().map(flush)).await;
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
    }

    async fn suspend(&self) -> Result<()> {
        let suspend = |(shard, meta): (usize, &str)| {
            let mut command = SUSPEND.command(1, 0, meta.len());
            command.write_arg(meta.as_bytes());
            async move { self.shared.call(shard, &command).await }
        };
        // Every shard that can be reached is suspended, also if another one cannot.
        let outcomes = join_all(self.shared.keys().metas().enumerate().map(suspend)).await;
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        Ok(Box::new(RedisWriter::open(Arc::clone(&self.shared)).await?))
    }

    fn write_wait_max(&self) -> Duration {
        let settings = &self.shared.settings;
        if settings.wait_replicas > 0 { settings.wait_timeout } else { Duration::ZERO }
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        Arc::new(RedisBus::new(Arc::clone(&self.shared)))
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        Some(&self.shared.hub)
    }
}

/// The header that a granted lease writes if there is no entry. The script sets the generation and the expiry.
///
/// Layout: [`cachefront_core::entry`]. Only the mode, the schema version and the token matter; the
/// script copies the rest from here, so that it need not know the layout of a new entry.
fn lease_only(request: &LeaseRequest<'_>) -> Vec<u8> {
    let header = Header {
        state: PayloadState::None,
        mode: request.mode,
        codec: 0,
        compression: 0,
        schema_version: request.schema_version,
        generation: Generation::default(),
        order: 0,
        filled_at: Timestamp::UNKNOWN,
        soft_expiry: Timestamp::UNKNOWN,
        hard_expiry: Timestamp::UNKNOWN,
        load_cost_us: 0,
        position: Bytes::new(),
    };
    Entry { header, token: Some(request.token), lease_expiry: Timestamp::UNKNOWN, payload: Bytes::new() }.encode()
}

/// A duration in µs, up to a century.
///
/// The script `lease` adds it to the server's clock. A sum beyond 2^53 µs would lose its last
/// digits.
fn micros(duration: Duration) -> u64 {
    // Lua numbers are exact up to 2^53; a century is far below that.
    const CENTURY_US: u64 = 100 * 366 * 86_400 * 1_000_000;
    u64::try_from(duration.as_micros()).map_or(CENTURY_US, |micros| micros.min(CENTURY_US))
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("namespace", &self.namespace())
            .field("shards", &self.shared.keys().shards())
            .field("servers", &self.shared.servers)
            .field("route", &self.shared.reads.route)
            .finish()
    }
}
