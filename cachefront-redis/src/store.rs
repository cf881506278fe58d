//! The store's readers' side: which command each method sends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cachefront_core::bus::{Hub, InvalidationBus};
use cachefront_core::entry::{Entry, Header, PayloadState};
use cachefront_core::store::{
    Fill, FillReply, Generation, InvalidationMode, LeaseReply, LeaseRequest, Reading, Refusal, ServerId, Store,
    StoreWriter, Token, transition,
};
use cachefront_core::{Result, StoreKey, Timestamp};
use futures_util::future::try_join_all;
use redis::{Cmd, Pipeline, RedisWrite, Value};
use tokio::sync::OnceCell;

use crate::bus::RedisBus;
use crate::config::{RedisSettings, RedisStoreBuilder};
use crate::conn::{Dialer, Purpose};
use crate::error::{refused, unexpected};
use crate::keys::KeySpace;
use crate::link::{Link, Live};
use crate::reads::{self, Reads};
use crate::scripts::{self, FILL, LEASE, RELEASE, SUSPEND, Script};
use crate::writer::RedisWriter;

/// How often a lease is asked for again because the entry that stood in its way was gone when it was to be read.
const LEASE_TRIES: usize = 3;

/// The shared store in a Redis or Valkey server. A clone is the same store over the same connection.
///
/// Readers share one connection, which is replaced in the background when it is lost; until then they get an error at
/// once. Concurrent [`get`](Store::get)s are sent as one `MGET`. Invalidators and readers of the bus have connections
/// of their own, which are never replaced unnoticed.
///
/// The first [`peek`](Store::peek) opens one more, on which the server is told not to count reads as uses
/// (`CLIENT NO-TOUCH`: Redis 7.2 and later, Valkey). On an older server a look counts as a use.
///
/// The URL must lead to a primary: a connection to a replica is refused and tried again. Each connection notes which
/// server it leads to, by run id and replication id. Where readers and the bus find different ones, as after a failover,
/// both look for the primary again; until they agree, no value is kept in a process-local tier.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) reads: Arc<Reads>,
    /// For those who only look. Most processes never do.
    looks: OnceCell<Arc<Reads>>,
    pub(crate) dialer: Dialer,
    pub(crate) settings: RedisSettings,
    hub: Arc<Hub>,
}

impl RedisStore {
    /// Connects to `redis://host:port/database?namespace=service` or `rediss://…`, with the default settings. The
    /// namespace is described at [`RedisStoreBuilder::namespace`]; there is no default one.
    ///
    /// # Errors
    /// `Config` if the URL, the password or the certificate is wrong or the namespace is missing; `Unavailable` or
    /// `Timeout` if the server cannot be reached.
    ///
    /// # Process-wide effects
    /// As [`RedisStoreBuilder::connect`]: a `rediss://` URL may install rustls' default provider.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing was written.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// Says more than the URL before connecting. Nothing happens before
    /// [`connect`](RedisStoreBuilder::connect), whose process-wide effects are described there.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }

    pub(crate) async fn open(keys: KeySpace, dialer: Dialer, settings: RedisSettings) -> Result<Self> {
        let link = Link::open(dialer.clone(), Purpose::Scripts).await?;
        let reads = Arc::new(Reads::new(link, keys, settings.read_batch_keys_max));
        // Every shard's meta: it tells whether the namespace was built with another number of shards.
        for shard in 0..reads.keys.shards() as usize {
            reads.fetch(shard, std::iter::empty()).await?;
        }
        let hub = Arc::new(Hub::new());
        Ok(Self { shared: Arc::new(Shared { reads, looks: OnceCell::new(), dialer, settings, hub }) })
    }
}

impl Shared {
    fn keys(&self) -> &KeySpace {
        &self.reads.keys
    }

    /// The connection of those who only look, opened by the first of them.
    async fn looks(&self) -> Result<Arc<Reads>> {
        let open = self.looks.get_or_try_init(async || {
            let link = Link::open(self.dialer.clone(), Purpose::Looks).await?;
            Ok(Arc::new(Reads::new(link, self.keys().clone(), self.settings.read_batch_keys_max)))
        });
        // Of many who wait for it, each waits for so long only, however often the others try.
        match tokio::time::timeout(self.settings.connect_timeout, open).await {
            Ok(looks) => looks.map(Arc::clone),
            Err(elapsed) => Err(self.dialer.address().silent("did not take the connection", elapsed)),
        }
    }

    /// Makes readers look for the server that the bus was found on, if they are on another one.
    pub(crate) fn join(&self, server: ServerId) {
        self.reads.link.join(server);
        if let Some(looks) = self.looks.get() {
            looks.link.join(server);
        }
    }

    /// Sends one call of a script over the readers' connection.
    pub(crate) async fn call(&self, command: &Cmd) -> Result<Value> {
        self.call_over(&self.reads.link.live()?, command).await
    }

    /// The same, over the connection that was the readers' a moment ago.
    pub(crate) async fn call_over(&self, live: &Live, command: &Cmd) -> Result<Value> {
        let reply = scripts::call(&mut live.connection.wire.clone(), command).await.and_then(refused);
        reply.map_err(|error| self.reads.link.failed(live, &error))
    }

    /// Sends commands that do not depend on each other's order.
    async fn call_all(&self, calls: &Pipeline) -> Result<()> {
        let mut live = self.reads.link.live()?;
        let replies = scripts::call_all(&mut live.connection.wire, calls).await;
        let outcome = replies.and_then(|replies| replies.into_iter().try_for_each(|reply| refused(reply).map(drop)));
        outcome.map_err(|error| self.reads.link.failed(&live, &error))
    }

    /// The start of a call that compares with the meta and touches one key.
    fn command_for(&self, script: &Script, key: &StoreKey, args: usize, bytes: usize) -> Cmd {
        let shard = self.keys().shard_of(key);
        let meta = self.keys().meta(shard);
        let mut command = script.command(2, args, bytes + meta.len() + self.keys().name_bytes(shard, key));
        command.write_arg(meta.as_bytes());
        self.keys().write(&mut command, shard, key);
        command
    }

    async fn present(&self, request: &LeaseRequest<'_>) -> Result<Option<LeaseReply>> {
        let shard = self.keys().shard_of(request.key);
        let reading = self.reads.fetch(shard, std::iter::once(request.key)).await?.pop();
        let Some(Reading { meta, entry: Some(entry), .. }) = reading else {
            return Ok(None);
        };
        // The server has just said that the hard expiry is not over by its clock.
        let good = Entry::decode(entry.clone()).is_ok_and(|decoded| {
            let (meta, now) = (meta.as_deref(), Timestamp::UNKNOWN);
            let (mode, mapping) = (request.mode, request.mapping);
            transition::is_good(meta, &decoded.header, mode, mapping, request.schema_version, now)
        });
        Ok(good.then_some(LeaseReply::Present { meta, entry }))
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
        // While readers know that the server is away, nobody dials for a look.
        self.shared.reads.link.live()?;
        reads::get(&self.shared.looks().await?, key).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        let mut readings = vec![None; keys.len()];
        let by_shard = self.shared.keys().by_shard(keys);
        let max = self.shared.settings.keys_per_command_max;
        let commands = by_shard.iter().flat_map(|(shard, keys)| keys.chunks(max).map(move |chunk| (*shard, chunk)));
        let fetched = try_join_all(commands.map(|(shard, chunk)| async move {
            let readings = self.shared.reads.fetch(shard, chunk.iter().map(|(_, key)| *key)).await?;
            Ok::<_, cachefront_core::Error>((chunk, readings))
        }));
        for (chunk, fetched) in fetched.await? {
            for ((place, _), reading) in chunk.iter().zip(fetched) {
                readings[*place] = Some(reading);
            }
        }
        readings.into_iter().map(|reading| reading.ok_or_else(|| unexpected("MGET"))).collect()
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        let header = lease_only(request);
        let duration_us = micros(request.duration);
        let mut command = self.shared.command_for(&LEASE, request.key, 4, header.len() + 48);
        command.write_arg(&header);
        command.arg(duration_us).arg(u8::from(request.reload));
        command.write_arg(&request.mapping.0.to_be_bytes());
        for _ in 0..LEASE_TRIES {
            let live = self.shared.reads.link.live()?;
            let Value::Array(reply) = self.shared.call_over(&live, &command).await? else {
                return Err(unexpected("lease"));
            };
            let mut reply = reply.into_iter();
            return Ok(match (reply.next(), reply.next()) {
                (Some(Value::Int(0)), None) => LeaseReply::NoMeta,
                (Some(Value::Int(1)), Some(meta)) => {
                    let shard = self.shared.keys().shard_of(request.key);
                    let meta = self.shared.reads.metas.read(shard, meta)?;
                    LeaseReply::Granted { server: live.connection.identity.server(), meta }
                }
                (Some(Value::Int(2)), None) => match self.shared.present(request).await? {
                    Some(present) => present,
                    None => continue,
                },
                (Some(Value::Int(3)), Some(Value::Int(micros))) => {
                    LeaseReply::Held { remaining: Duration::from_micros(u64::try_from(micros).unwrap_or_default()) }
                }
                (Some(Value::Int(4)), None) => LeaseReply::NotCovered,
                _ => return Err(unexpected("lease")),
            });
        }
        // Entries come and go faster than they can be read: the caller waits and asks again.
        Ok(LeaseReply::Held { remaining: Duration::ZERO })
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        let mut command = self.shared.command_for(&FILL, fill.key, 5, fill.entry.len() + 64);
        command.write_arg(&fill.token.as_u128().to_be_bytes());
        command.arg(match fill.mode {
            InvalidationMode::Cdc => 0,
            InvalidationMode::Ttl => 1,
        });
        command.write_arg(&fill.generation.0.to_be_bytes());
        command.arg(micros(fill.expiry).div_ceil(1_000).max(1));
        command.write_arg(fill.entry);
        match self.shared.call(&command).await? {
            Value::Int(0) => Ok(FillReply::Stored),
            Value::Int(1) => Ok(FillReply::Refused(Refusal::NoMeta)),
            Value::Int(2) => Ok(FillReply::Refused(Refusal::GenerationChanged)),
            Value::Int(3) => Ok(FillReply::Refused(Refusal::LeaseBroken)),
            _ => Err(unexpected("fill")),
        }
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        let shard = self.shared.keys().shard_of(key);
        let mut command = RELEASE.command(1, 1, self.shared.keys().name_bytes(shard, key) + 16);
        self.shared.keys().write(&mut command, shard, key);
        command.write_arg(&token.as_u128().to_be_bytes());
        self.shared.call(&command).await.map(drop)
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        let pipelines = unlink(self.shared.keys(), keys, self.shared.settings.keys_per_command_max);
        try_join_all(pipelines.iter().map(|pipeline| self.shared.call_all(pipeline))).await.map(drop)
    }

    async fn suspend(&self) -> Result<()> {
        let mut pipeline = Pipeline::new();
        for meta in self.shared.keys().metas() {
            let mut command = SUSPEND.command(1, 0, meta.len());
            command.write_arg(meta.as_bytes());
            pipeline.add_command(command);
        }
        self.shared.call_all(&pipeline).await
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        Ok(Box::new(RedisWriter::open(Arc::clone(&self.shared)).await?))
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        Arc::new(RedisBus::new(Arc::clone(&self.shared)))
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        Some(&self.shared.hub)
    }
}

/// Removes keys in as few commands as allowed: one pipeline for each shard.
pub(crate) fn unlink(space: &KeySpace, keys: &[StoreKey], keys_per_command_max: usize) -> Vec<Pipeline> {
    let pipeline = |(shard, keys): (usize, Vec<(usize, &StoreKey)>)| {
        let mut pipeline = Pipeline::with_capacity(keys.len().div_ceil(keys_per_command_max));
        for chunk in keys.chunks(keys_per_command_max) {
            let bytes: usize = chunk.iter().map(|(_, key)| space.name_bytes(shard, key)).sum();
            let mut command = Cmd::with_capacity(chunk.len() + 1, bytes + 6);
            command.write_arg(b"UNLINK");
            for (_, key) in chunk {
                space.write(&mut command, shard, key);
            }
            pipeline.add_command(command);
        }
        pipeline
    };
    space.by_shard(keys).into_iter().map(pipeline).filter(|pipeline| !pipeline.is_empty()).collect()
}

/// The header that a granted lease leaves where nothing stands; the script sets generation and expiry.
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

fn micros(duration: Duration) -> u64 {
    // Scripts count in numbers that are exact up to 2^53; a century is far below.
    const CENTURY_US: u64 = 100 * 366 * 86_400 * 1_000_000;
    u64::try_from(duration.as_micros()).map_or(CENTURY_US, |micros| micros.min(CENTURY_US))
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("namespace", &self.namespace())
            .field("shards", &self.shared.keys().shards())
            .field("dialer", &self.shared.dialer)
            .field("link", &self.shared.reads.link)
            .finish()
    }
}
