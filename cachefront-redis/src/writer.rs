//! The `StoreWriter` of an invalidator: one connection to each server that has a shard, unusable after the first error.
//!
//! An operation on the meta calls one script for each shard, in one pipeline for each server. A script compares and writes
//! atomically within its shard; several shards are not atomic together, which is why each of them compares on its own.
//! Removing entries is a plain `UNLINK`, because an entry and its lease are one key.
//!
//! A commit and a message on the bus also name the replication id of the server, which the script compares: a server that
//! was demoted and promoted again within one connection may have lost writes.
//!
//! What happens while a slot is being moved, and afterwards, is in `moving.rs`.
//!
//! # Operations
//!
//! | operation | per shard | compares |
//! |---|---|---|
//! | `state`, `term` | `GET` of the meta (and of the home) | nothing |
//! | `take_term` | script `take_term`; `flush` on a shard that has moved | generation, term, applied order |
//! | `cover` | script `cover` | generation, term, applied order |
//! | `raise_high_watermark` | script of this name | generation, term, applied order |
//! | `invalidate` | `UNLINK` | nothing: removing an entry is always right |
//! | `invalidate_unseen` | script of this name | the fill positions of the entries |
//! | `replace` | script `row_image` | generation, term, applied order, fill positions |
//! | `publish` | `WAIT` if replicas must confirm, then script `publish`, on the stream only | replication id |
//! | `commit` | `WAIT` if replicas must confirm, then script `commit` | as `cover`, and replication id |
//! | `flush` | script `flush` | term |
//! | `resign` | script `resign` | generation, term, applied order |
//!
//! A script returns 0 if it did its work, else the number of the first difference; `conflict` has
//! the list. A difference means that another invalidator has written, or that the server lost
//! writes.
//!
//! # Why a failed writer cannot be used again
//! After a timeout or a lost connection it is unknown whether the server ran the command. The order
//! of a batch, which is mark, remove, publish, commit, would be broken by going on. A new writer
//! reads the state from the store and repeats what is not in it; all operations can be repeated.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront_core::bus::BusMessage;
use cachefront_core::store::coverage::COVERED_MAX;
use cachefront_core::store::{
    Applied, Cover, Coverage, Expected, Generation, Invalidation, Meta, RowImageCounts, RowImageValue, ServerId,
    StoreState, StoreWriter,
};
use cachefront_core::{Error, ErrorKind, Result, StoreKey};
use redis::{Cmd, Pipeline, RedisWrite, Value};

use crate::bus;
use crate::error::Address;
use crate::keys::KeySpace;
use crate::message;
use crate::route::Servers;
use crate::scripts::{COMMIT, COVER, INVALIDATE_UNSEEN, RAISE_HIGH_WATERMARK, RESIGN, Script};
use crate::shared::{Shared, unlink};
use crate::wires::{Parked, Wires};

/// A writer over connections of its own.
///
/// Its commands time out after `writer_response_timeout` and not after a reader's limits: they
/// carry up to `keys_per_command_max` keys.
pub(crate) struct RedisWriter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wires: Wires,
    /// Shards whose slot is being moved: they cover nothing, so nothing is invalidated there.
    pub(crate) parked: Parked,
    /// What the current batch expects of every meta.
    held: Option<Expected>,
    /// Set while an operation runs and after one failed: the effect of a dropped or failed operation is unknown.
    poisoned: bool,
    /// Set by an invalidation until replicas have confirmed it, if that is asked for.
    unconfirmed: bool,
}

impl RedisWriter {
    /// Opens the connections.
    ///
    /// # Errors
    /// The error of a server that cannot be reached; `Unavailable` if it is a replica or a slot of
    /// the cluster has no node, `Config` if the login is refused.
    pub(crate) async fn open(shared: Arc<Shared>) -> Result<Self> {
        let wires = Wires::open(Arc::clone(&shared)).await?;
        tracing::debug!(?wires, "opened an invalidator's connections to Redis");
        Ok(Self { shared, wires, parked: Parked::default(), held: None, poisoned: false, unconfirmed: false })
    }

    pub(crate) fn address(&self) -> &Address {
        self.shared.servers.address()
    }

    pub(crate) fn keys_per_command_max(&self) -> usize {
        self.shared.settings.keys_per_command_max
    }

    pub(crate) fn keys(&self) -> &KeySpace {
        &self.shared.reads.keys
    }

    /// Poisons the writer until [`end`](Self::end). A future that is dropped in between leaves it poisoned.
    fn begin(&mut self) -> Result<()> {
        if self.poisoned {
            let message = format!(
                "this writer to Redis at {} failed before, and the effect of its last operation is unknown: open another \
                 one and read the state",
                self.address()
            );
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        self.poisoned = true;
        Ok(())
    }

    /// Ends an operation: the writer stays poisoned if it failed.
    fn end<T>(&mut self, outcome: Result<T>) -> Result<T> {
        self.poisoned = outcome.is_err();
        outcome
    }

    /// Starts a call of a script on the meta of a shard. The caller appends `args` arguments of `bytes` in total.
    pub(crate) fn on_meta(&self, script: &Script, shard: usize, args: usize, bytes: usize) -> Cmd {
        let meta = self.keys().meta(shard);
        let mut command = script.command(1, args, bytes + meta.len());
        command.write_arg(meta.as_bytes());
        command
    }

    /// Calls a script on the meta of every shard. A shard whose meta is not as expected is a conflict.
    async fn on_metas(&self, expected: &Expected, script: &Script, args: &[&[u8]]) -> Result<()> {
        self.all_done(Some(expected), self.shards(), |shard| self.with_args(script, shard, args)).await
    }

    /// A call of a script on the meta of a shard.
    pub(crate) fn with_args(&self, script: &Script, shard: usize, args: &[&[u8]]) -> Cmd {
        let mut command = self.on_meta(script, shard, args.len(), args.iter().map(|arg| arg.len()).sum());
        for arg in args {
            command.write_arg(arg);
        }
        command
    }

    /// Reads the meta of every shard.
    pub(crate) async fn metas(&self) -> Result<Vec<Option<Arc<Meta>>>> {
        let replies = self.follow(None, self.shards(), |shard| get(self.keys().meta(shard))).await?;
        let metas = &self.shared.reads.metas;
        replies.into_iter().enumerate().map(|(shard, reply)| metas.read(shard, reply)).collect()
    }

    /// Removes entries together with their leases.
    async fn remove(&self, keys: &[StoreKey]) -> Result<()> {
        self.on_parts(unlink(self.keys(), keys, self.shared.settings.keys_per_command_max)).await
    }

    /// Removes entries, except for those whose load has seen the commits of their change.
    ///
    /// The commits of a key are sent as `origin:number` pairs. The script compares them with the
    /// fill position in the header: a load that saw all of them read the row after its change.
    async fn remove_unseen(&self, changes: &[Invalidation]) -> Result<()> {
        let keys: Vec<StoreKey> = changes.iter().map(|change| change.key.clone()).collect();
        self.on_entries(&keys, |shard, chunk| {
            let mut command = self.on_chunk(&INVALIDATE_UNSEEN, shard, chunk, (chunk.len(), 64 * chunk.len()));
            for (index, _) in chunk {
                let commits = changes.get(*index).map(|change| change.commits.as_slice()).unwrap_or_default();
                command.arg(commits.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
            }
            command
        })
        .await
    }

    /// Sends the calls that `call` builds from each shard's keys, with at most `keys_per_command_max` keys in each.
    async fn on_entries(&self, keys: &[StoreKey], call: impl Fn(usize, &[(usize, &StoreKey)]) -> Cmd) -> Result<()> {
        let max = self.shared.settings.keys_per_command_max;
        let mut pipelines = Vec::new();
        for (shard, keys) in self.keys().by_shard(keys) {
            let mut pipeline = Pipeline::with_capacity(keys.len().div_ceil(max));
            for chunk in keys.chunks(max) {
                pipeline.add_command(call(shard, chunk));
            }
            pipelines.push((shard, pipeline));
        }
        self.on_parts(pipelines).await
    }

    /// Sends one pipeline to each shard, whose effect a shard that covers nothing does not need.
    async fn on_parts(&self, mut pipelines: Vec<(usize, Pipeline)>) -> Result<()> {
        pipelines.retain(|(shard, _)| !self.parked.has(*shard));
        for shard in self.wires.send_all(&pipelines).await? {
            self.park(shard, self.held.as_ref()).await?;
        }
        Ok(())
    }

    /// Starts a call on a shard's meta and entries. The caller appends `args` arguments of `args_bytes` in total.
    pub(crate) fn on_chunk(
        &self,
        script: &Script,
        shard: usize,
        chunk: &[(usize, &StoreKey)],
        (args, args_bytes): (usize, usize),
    ) -> Cmd {
        let space = self.keys();
        let meta = space.meta(shard);
        let bytes: usize = chunk.iter().map(|(_, key)| space.name_bytes(shard, key)).sum();
        let mut command = script.command(chunk.len() + 1, args, meta.len() + bytes + args_bytes);
        command.write_arg(meta.as_bytes());
        for (_, key) in chunk {
            space.write(&mut command, shard, key);
        }
        command
    }

    /// Replaces the coverage of every shard.
    ///
    /// # Errors
    /// `Config` if there are too many caches, `Conflict` if a shard is not as expected.
    async fn set_coverage(&self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        let mut rows: Vec<&Cover> = rows.iter().collect();
        // As in the core: of two rows with the same mapping the first one counts.
        rows.sort_by_key(|row| row.covered.mapping);
        rows.dedup_by_key(|row| row.covered.mapping);
        if rows.len() > COVERED_MAX {
            let message =
                format!("{} caches are bound, and the maximum for one namespace is {COVERED_MAX}", rows.len());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let fresh: Vec<u8> = rows.iter().map(|row| u8::from(row.fresh)).collect();
        let coverage = Coverage::new(rows.into_iter().map(|row| row.covered.clone()));
        let (mut table, mut names) = (Vec::new(), Vec::new());
        coverage.encode_rows(&mut table);
        coverage.encode_names(&mut names);
        let [generation, term, applied_order] = &compared(expected);
        let next = next.0.to_be_bytes();
        let all: [&[u8]; 7] = [generation, term, applied_order, &next, &table, &fresh, &names];
        let none: [&[u8]; 7] = [generation, term, applied_order, &next, &[], &[], &[]];
        let call = |shard| self.with_args(&COVER, shard, if self.parked.has(shard) { &none } else { &all });
        self.all_done(Some(expected), self.shards(), call).await
    }

    /// Checks that this writer is where readers are, if Sentinels say where the primary is: readers leave a former primary
    /// at once, and it may go on as a primary for a while.
    ///
    /// # Errors
    /// `Unavailable` if readers are on another server.
    fn check_readers(&self) -> Result<()> {
        let Servers::One(dialer) = &self.shared.servers else { return Ok(()) };
        let readers = self.shared.reads.route.server_now();
        let elsewhere = readers != ServerId::UNKNOWN && !readers.is_same(self.wires.server());
        if elsewhere && dialer.sentinels().is_some() {
            // In a process without caches nothing else would notice that the readers' server has another history.
            self.shared.follow(self.wires.server());
            return Err(self.address().unavailable("is another server for this writer than for readers"));
        }
        Ok(())
    }

    /// Waits until `wait_replicas` replicas of each server have every invalidation of this writer. Called before anything
    /// says that the invalidations are applied: a message on the bus, or `applied`.
    ///
    /// # Errors
    /// `Unavailable` if fewer replicas confirm within `wait_timeout`, or if readers are on another server.
    async fn confirm(&mut self) -> Result<()> {
        self.check_readers()?;
        let settings = self.shared.settings;
        if !self.unconfirmed || settings.wait_replicas == 0 {
            return Ok(());
        }
        let mut command = Cmd::new();
        command.arg("WAIT").arg(settings.wait_replicas);
        // The server takes a wait of 0 for one without end; the settings require at least 1 ms.
        command.arg(u64::try_from(settings.wait_timeout.as_millis()).unwrap_or(u64::MAX).max(1));
        for reply in self.wires.call_servers(&command).await? {
            let confirmed = match reply {
                Value::Int(count) => usize::try_from(count).unwrap_or_default(),
                _ => return Err(self.address().unexpected_reply("WAIT")),
            };
            if confirmed < settings.wait_replicas {
                let message = format!(
                    "{confirmed} of the {} replicas that `wait_replicas` asks for have confirmed an invalidation within \
                     {:?}: it is not applied, and is repeated; start replicas, or lower `wait_replicas`",
                    settings.wait_replicas, settings.wait_timeout
                );
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        }
        self.unconfirmed = false;
        Ok(())
    }

    /// Appends a message to the bus over this writer's connection.
    async fn append(&mut self, message: &BusMessage) -> Result<u64> {
        self.confirm().await?;
        let place = self.keys().bus();
        let bytes = message::encode(self.wires.server(), message)?;
        let call = |place| bus::append(&self.shared, &self.wires.histories(place), &bytes);
        let reply = self.follow(None, place..place + 1, call).await?.pop().unwrap_or_default();
        bus::appended(self.address(), reply)
    }

    /// Advances the applied position of every shard.
    async fn move_applied(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        self.confirm().await?;
        let position = applied.checkpoint.position.to_string();
        let [generation, term, applied_order] = &compared(expected);
        let args: [&[u8]; 7] = [
            generation,
            term,
            applied_order,
            &applied.order.to_be_bytes(),
            &applied.source_time.as_micros().to_be_bytes(),
            position.as_bytes(),
            &applied.checkpoint.resume,
        ];
        let call = |shard| {
            let ids = self.wires.histories(shard);
            let args: Vec<&[u8]> = [ids.as_bytes()].into_iter().chain(args).collect();
            self.with_args(&COMMIT, shard, &args)
        };
        self.all_done(Some(expected), self.shards(), call).await?;
        self.check_parked().await
    }
}

/// A `GET` of one key.
fn get(key: &str) -> Cmd {
    let mut command = Cmd::new();
    command.arg("GET").arg(key);
    command
}

/// The values that a script compares: generation, term and applied order.
pub(crate) fn compared(expected: &Expected) -> [Vec<u8>; 3] {
    [
        expected.generation.0.to_be_bytes().to_vec(),
        expected.term.to_be_bytes().to_vec(),
        expected.applied_order.to_be_bytes().to_vec(),
    ]
}

/// The error for a code that `compare` in `meta.lua`, or a script, returned.
pub(crate) fn conflict(address: &Address, code: i64) -> Error {
    let what = match code {
        1 => "it has no meta",
        2 => "another generation is in force",
        3 => "another term is in force",
        4 => "it has another applied order",
        5 => "the server's replication id changed, so it may have lost writes",
        _ => "the script returned an unknown code",
    };
    let message = format!("a shard in Redis at {address} is not as expected: {what}; read the state again");
    Error::new(ErrorKind::Conflict, message)
}

#[async_trait]
impl StoreWriter for RedisWriter {
    async fn state(&mut self) -> Result<StoreState> {
        self.begin()?;
        let state = self.combined().await;
        self.end(state)
    }

    async fn term(&mut self) -> Result<u64> {
        self.begin()?;
        let metas = self.metas().await;
        let term = metas.map(|metas| metas.iter().flatten().map(|meta| meta.term).max().unwrap_or_default());
        self.end(term)
    }

    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()> {
        self.begin()?;
        let outcome = self.set_term(state, term).await;
        self.end(outcome)
    }

    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        self.begin()?;
        self.unconfirmed = true;
        let outcome = self.set_coverage(expected, next, rows).await;
        self.end(outcome)
    }

    async fn resign(&mut self, expected: &Expected) -> Result<()> {
        self.begin()?;
        let [generation, term, applied_order] = &compared(expected);
        let outcome = self.on_metas(expected, &RESIGN, &[generation, term, applied_order]).await;
        self.end(outcome)
    }

    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()> {
        self.begin()?;
        let [generation, term, applied_order] = &compared(expected);
        self.held = Some(*expected);
        let outcome = self
            .on_metas(expected, &RAISE_HIGH_WATERMARK, &[generation, term, applied_order, &order.to_be_bytes()])
            .await;
        self.end(outcome)
    }

    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()> {
        self.begin()?;
        self.unconfirmed = true;
        let outcome = self.remove(keys).await;
        self.end(outcome)
    }

    async fn invalidate_unseen(&mut self, changes: &[Invalidation]) -> Result<()> {
        self.begin()?;
        self.unconfirmed = true;
        let outcome = self.remove_unseen(changes).await;
        self.end(outcome)
    }

    async fn replace(&mut self, expected: &Expected, values: &[RowImageValue]) -> Result<RowImageCounts> {
        self.begin()?;
        self.unconfirmed = true;
        let outcome = self.replace_values(expected, values).await;
        self.end(outcome)
    }

    async fn publish(&mut self, message: &BusMessage) -> Result<u64> {
        self.begin()?;
        let outcome = self.append(message).await;
        self.end(outcome)
    }

    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        self.begin()?;
        let outcome = self.move_applied(expected, applied).await;
        self.end(outcome)
    }

    async fn flush(&mut self, meta: &Meta) -> Result<()> {
        self.begin()?;
        self.unconfirmed = true;
        let outcome = self.replace_meta(meta).await;
        self.end(outcome)
    }
}

impl fmt::Debug for RedisWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisWriter")
            .field("namespace", &self.keys().namespace())
            .field("wires", &self.wires)
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}
