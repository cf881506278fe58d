//! An invalidator's connection to the store: one connection to one server.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront_core::bus::BusMessage;
use cachefront_core::store::row_image::Outcome;
use cachefront_core::store::{
    Applied, Cover, Expected, Generation, Invalidation, Meta, RowImageCounts, RowImageValue, StoreState, StoreWriter,
    row_image, transition,
};
use cachefront_core::{Error, ErrorKind, Result, StoreKey};

use crate::server::{Server, origin_of, unavailable};
use crate::session::Session;
use crate::world::World;

pub(crate) struct Writer {
    world: Arc<World>,
    actor: usize,
    server: usize,
    /// The server's data was replaced since the connection was made: it plays another server now.
    copies: u64,
    /// The source's server that the last meta written over this connection names: what its publisher follows. The meta in
    /// force may be a successor's already.
    origin: usize,
    /// The generation of that meta.
    generation: Generation,
}

impl Writer {
    pub(crate) fn new(world: &Arc<World>, actor: usize, server: usize) -> Self {
        let copies = world.state().servers[server].copies;
        Self { world: Arc::clone(world), actor, server, copies, origin: 0, generation: Generation::default() }
    }

    async fn call<T: Send>(&self, command: impl FnOnce(&mut Server, u64) -> Result<T> + Send) -> Result<T> {
        let world = &self.world;
        world.awake(self.actor).await;
        let slow = world.state().slow_until > world.now();
        world.travel(slow).await;
        let lost = world.loses();
        if lost && world.random.chance(500) {
            return Err(unavailable("the connection broke on the way"));
        }
        let done = {
            let now = world.now();
            let mut state = world.state();
            let server = &mut state.servers[self.server];
            if server.takes_writes() && server.copies == self.copies {
                command(server, now)
            } else {
                Err(unavailable("the server is not a primary"))
            }
        };
        world.travel(slow).await;
        world.awake(self.actor).await;
        if lost {
            return Err(Error::new(ErrorKind::Timeout, "no reply came"));
        }
        done
    }

    fn judge(&self, judgement: impl FnOnce(&mut Session) -> Option<&'static str>) {
        let wrong = judgement(&mut self.world.state().actors[self.actor].session);
        self.world.judged(self.actor, wrong);
    }

    fn judge_high_watermark(&self) {
        let wrong = {
            let state = self.world.state();
            let server = &state.servers[self.server];
            if server.copies == self.copies { Session::invalidate(server, self.generation) } else { None }
        };
        self.world.judged(self.actor, wrong);
    }

    /// Changes the meta of every shard, one after the other; stops at the first that refuses.
    async fn change_metas(
        &mut self,
        what: &'static str,
        change: impl Fn(Option<&Meta>) -> Result<Meta> + Send + Sync,
    ) -> Result<()> {
        if what != "flush" {
            self.judge(Session::write);
        }
        for shard in 0..self.world.config.shards {
            let (mut origin, mut generation) = (self.origin, self.generation);
            let outcome = self
                .call(|server, now| {
                    let next = change(server.data.metas[shard].as_deref())?;
                    (origin, generation) = (origin_of(&next.origin), next.generation);
                    server.set_meta(shard, next, now);
                    Ok(())
                })
                .await;
            (self.origin, self.generation) = (origin, generation);
            self.world.log(|| {
                let error = outcome.as_ref().err().map(ToString::to_string);
                let state = self.world.state();
                let meta = state.servers[self.server].data.metas[shard].clone();
                let meta = meta.map(|meta| {
                    let (state, order, term) = (meta.state, meta.applied_order, meta.term);
                    let covered: Vec<_> = meta
                        .coverage
                        .rows()
                        .iter()
                        .map(|row| format!("{} {:08x}", row.cache, row.generation.0 >> 96))
                        .collect();
                    let applied = meta.applied_text();
                    format!("{state:?} term {term} order {order} applied {applied} covers {covered:?}")
                });
                format!("{} {what} on {}/{shard}: {error:?} {meta:?}", self.actor, self.server)
            });
            outcome?;
        }
        Ok(())
    }
}

#[async_trait]
impl StoreWriter for Writer {
    async fn state(&mut self) -> Result<StoreState> {
        self.world.state().actors[self.actor].session.look();
        let mut metas = Vec::new();
        for shard in 0..self.world.config.shards {
            metas.push(self.call(|server, _| Ok(server.data.metas[shard].clone())).await?);
        }
        Ok(transition::state(metas.iter().map(Option::as_deref)))
    }

    async fn term(&mut self) -> Result<u64> {
        self.call(|server, _| Ok(server.data.metas.iter().flatten().map(|meta| meta.term).max().unwrap_or_default()))
            .await
    }

    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        self.world.state().counts.covers += 1;
        self.change_metas("cover", |meta| transition::cover(meta, expected, next, rows)).await
    }

    async fn resign(&mut self, expected: &Expected) -> Result<()> {
        self.change_metas("resign", |meta| transition::resign(meta, expected)).await?;
        self.world.state().actors[self.actor].session.resigned = true;
        Ok(())
    }

    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()> {
        self.change_metas("take_term", |meta| transition::take_term(meta, state, term)).await
    }

    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()> {
        self.change_metas("raise_high_watermark", |meta| transition::raise_high_watermark(meta, expected, order)).await
    }

    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()> {
        self.judge_high_watermark();
        for shard in 0..self.world.config.shards {
            self.world.log(|| format!("{} invalidates {keys:?} on {}/{shard}", self.actor, self.server));
            self.call(|server, now| {
                for key in keys {
                    if server.shard_of(key) == shard {
                        let (_, slot) = server.look(key, now);
                        let change = transition::invalidate(slot);
                        server.apply(key, change);
                    }
                }
                Ok(())
            })
            .await?;
        }
        self.world.state().actors[self.actor].session.remove(keys.iter());
        Ok(())
    }

    async fn invalidate_unseen(&mut self, changes: &[Invalidation]) -> Result<()> {
        self.judge_high_watermark();
        for shard in 0..self.world.config.shards {
            self.world.log(|| format!("{} invalidates unseen {changes:?} on {}/{shard}", self.actor, self.server));
            self.call(|server, now| {
                for Invalidation { key, commits } in changes {
                    if server.shard_of(key) == shard {
                        let (meta, slot) = server.look(key, now);
                        let change = transition::invalidate_unseen(meta.map(Arc::as_ref), slot, commits);
                        server.apply(key, change);
                    }
                }
                Ok(())
            })
            .await?;
        }
        let keys = changes.iter().map(|change| &change.key);
        self.world.state().actors[self.actor].session.remove(keys);
        Ok(())
    }

    async fn replace(&mut self, expected: &Expected, values: &[RowImageValue]) -> Result<RowImageCounts> {
        self.judge_high_watermark();
        let mut counts = RowImageCounts::default();
        for shard in 0..self.world.config.shards {
            self.world.log(|| format!("{} replaces {values:?} on {}/{shard}", self.actor, self.server));
            let outcomes = self
                .call(|server, now| {
                    let mut outcomes = Vec::new();
                    for value in values {
                        if server.shard_of(&value.key) != shard {
                            continue;
                        }
                        let (meta, slot) = server.look(&value.key, now);
                        let (outcome, change) = row_image::replace(meta.map(Arc::as_ref), expected, slot, value)?;
                        server.apply(&value.key, change);
                        outcomes.push(outcome);
                    }
                    Ok(outcomes)
                })
                .await?;
            counts.replaced += outcomes.iter().filter(|outcome| **outcome == Outcome::Replaced).count() as u64;
        }
        let keys = values.iter().map(|value| &value.key);
        let mut state = self.world.state();
        state.actors[self.actor].session.remove(keys);
        state.counts.replaced += counts.replaced;
        Ok(counts)
    }

    async fn publish(&mut self, message: &BusMessage) -> Result<u64> {
        self.judge(|session| session.publish(&message.event, &self.world.config));
        let (origin, kept) = (self.origin, self.world.config.bus_kept);
        let sequence = self.call(|server, _| Ok(server.post(message, origin, None, kept))).await;
        self.world.log(|| {
            format!(
                "{} publishes {:?} {:?} on {}: {sequence:?}",
                self.actor, message.event, message.applied, self.server
            )
        });
        let (now, calm_since) = (self.world.now(), self.world.state().calm_since);
        self.judge(|session| session.speak(now, calm_since, &self.world.config));
        sequence
    }

    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        self.change_metas("commit", |meta| transition::commit(meta, expected, applied)).await?;
        // A sign of life within a batch applies nothing.
        if applied.order > expected.applied_order {
            self.world.state().actors[self.actor].session.commit();
        }
        Ok(())
    }

    async fn flush(&mut self, meta: &Meta) -> Result<()> {
        self.world.state().counts.flushes += 1;
        let shards = self.world.config.shards as u32;
        self.judge(|session| session.flush(meta));
        self.change_metas("flush", |now| transition::flush(now, meta, shards)).await?;
        self.world.state().actors[self.actor].session.flushed();
        if self.world.config.store_faults && !self.world.is_calm() && self.world.random.chance(300) {
            // A replica that has the flush, and nothing that follows it.
            self.world.replicate();
        }
        Ok(())
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("actor", &self.actor).field("server", &self.server).finish_non_exhaustive()
    }
}
