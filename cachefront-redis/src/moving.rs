//! Slots that are being moved to another node of a cluster, or were ("Moved shard", "Moving shard").
//!
//! # A shard that has moved
//! In a cluster each shard keeps the replication id of the server that it was last found on (its *home*). A shard that is
//! found on a server with another history has moved while no invalidator watched, perhaps in part from a replica that had
//! been promoted without the last invalidations. What its meta says is then not trusted: its state is left aside, and the
//! next term begins new generations for its caches, on this shard only.
//!
//! # A shard that is being moved
//! Its keys go to the other node one by one. A command on one key is repeated there after `ASK`; one on several keys fails
//! with `TRYAGAIN` while they are on both nodes. So the invalidator does not invalidate such a shard key by key. It *parks* it:
//! it removes the home, so that the shard counts as moved for every later session, and takes all caches from its coverage,
//! so that nothing of it is served or filled. From then on no entry there needs to be invalidated, and all other shards go on.
//! The metas of parked shards advance like all others. When the move has ended, the session ends too (`MOVED`), and the next
//! one begins new generations on the shard.

use std::collections::BTreeSet;
use std::sync::Arc;

use cachefront_core::Result;
use cachefront_core::store::{Coverage, Expected, Meta, StoreState, transition};
use redis::{Cmd, RedisWrite, Value};

use crate::error::is_moving;
use crate::route::Servers;
use crate::scripts::{COVER, FLUSH, SETTLE, TAKE_TERM};
use crate::writer::{RedisWriter, compared, conflict};

/// Where a shard is, compared with where it was last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    /// On the server of its home, or on one that was promoted in that one's place.
    Home,
    /// On another one.
    Moved,
    /// In part on one node and in part on another.
    Moving,
}

impl RedisWriter {
    /// All shards.
    pub(crate) fn shards(&self) -> std::ops::Range<usize> {
        0..self.keys().metas().len()
    }

    /// Sends to each place a command on one key, which is repeated at the other node if the slot is being moved. With `held`
    /// the shard is parked before.
    pub(crate) async fn follow(
        &self,
        held: Option<&Expected>,
        places: impl IntoIterator<Item = usize> + Send,
        build: impl Fn(usize) -> Cmd + Send + Sync,
    ) -> Result<Vec<Value>> {
        let places: Vec<usize> = places.into_iter().collect();
        let mut replies = self.wires.call_each(places.iter().map(|place| (*place, build(*place)))).await?;
        for (reply, place) in replies.iter_mut().zip(places) {
            if is_moving(reply) {
                if held.is_some() && !self.parked.has(place) {
                    Box::pin(self.park(place, held)).await?;
                }
                *reply = self.wires.ask(place, reply, || build(place)).await?;
            }
        }
        Ok(replies)
    }

    /// Calls scripts on metas that return 0, or a code that says what is not as expected.
    pub(crate) async fn all_done(
        &self,
        held: Option<&Expected>,
        shards: impl IntoIterator<Item = usize> + Send,
        build: impl Fn(usize) -> Cmd + Send + Sync,
    ) -> Result<()> {
        self.follow(held, shards, build).await?.into_iter().try_for_each(|reply| match reply {
            Value::Int(0) => Ok(()),
            Value::Int(code) => Err(conflict(self.address(), code)),
            _ => Err(self.address().unexpected_reply("a script on the meta")),
        })
    }

    /// Parks a shard whose slot is being moved.
    ///
    /// # Errors
    /// `Unavailable` if there is no other shard, or if it is not known what is expected of its meta.
    pub(crate) async fn park(&self, shard: usize, held: Option<&Expected>) -> Result<()> {
        if self.parked.has(shard) {
            return Ok(());
        }
        let Some(held) = held.filter(|_| self.parked.shards().len() + 1 < self.keys().metas().len()) else {
            return Err(self
                .address()
                .unavailable("is moving the slots of all shards: nothing is invalidated meanwhile"));
        };
        self.forget_home([shard]).await?;
        let [generation, term, applied_order] = &compared(held);
        // The meta keeps its own generation.
        let args: [&[u8]; 7] = [generation, term, applied_order, generation, &[], &[], &[]];
        self.all_done(None, [shard], |shard| self.with_args(&COVER, shard, &args)).await?;
        self.parked.shards().insert(shard);
        tracing::info!(shard, "the slot of a shard is being moved: nothing of it is cached meanwhile");
        Ok(())
    }

    /// Checks that the slots of all parked shards are still being moved.
    ///
    /// # Errors
    /// `Unavailable` if one is not: then the next session takes the shard up again.
    pub(crate) async fn check_parked(&self) -> Result<()> {
        let parked = self.parked.shards().clone();
        if parked.is_empty() {
            return Ok(());
        }
        let get = |shard| {
            let mut command = Cmd::new();
            command.arg("GET").arg(self.keys().absent(shard));
            (shard, command)
        };
        let replies = self.wires.call_each(parked.into_iter().map(get)).await?;
        match replies.iter().all(is_moving) {
            true => Ok(()),
            false => Err(self.address().unavailable("no longer moves the slot of a shard: it is taken up again")),
        }
    }

    /// Removes the homes of shards.
    async fn forget_home(&self, shards: impl IntoIterator<Item = usize> + Send) -> Result<()> {
        let forget = |shard| {
            let mut command = Cmd::new();
            command.arg("UNLINK").arg(self.keys().home(shard));
            command
        };
        self.follow(None, shards, forget).await.map(drop)
    }

    /// For each shard, where it is compared with its home.
    async fn whereabouts(&self) -> Result<Vec<Whereabouts>> {
        if matches!(self.shared.servers, Servers::One(_)) {
            return Ok(vec![Whereabouts::Home; self.shards().len()]);
        }
        let get = |shard| {
            let mut command = Cmd::new();
            command.arg("MGET").arg(self.keys().home(shard)).arg(self.keys().absent(shard));
            (shard, command)
        };
        let replies = self.wires.call_each(self.shards().map(get)).await?;
        let whereabouts = |(shard, reply): (usize, Value)| match reply {
            reply if is_moving(&reply) => Ok(Whereabouts::Moving),
            Value::Array(values) => Ok(match values.first() {
                Some(Value::BulkString(home))
                    if self.wires.connection(shard).identity.continues(&String::from_utf8_lossy(home)) =>
                {
                    Whereabouts::Home
                }
                _ => Whereabouts::Moved,
            }),
            _ => Err(self.address().unexpected_reply("MGET")),
        };
        replies.into_iter().enumerate().map(whereabouts).collect()
    }

    /// Notes where each shard is that is not being moved. Done after the metas were written.
    async fn settle(&self) -> Result<()> {
        if matches!(self.shared.servers, Servers::One(_)) {
            return Ok(());
        }
        let set = |shard| {
            let (home, id) = (self.keys().home(shard), self.wires.connection(shard).identity.replication_id());
            let mut command = SETTLE.command(1, 1, home.len() + id.len());
            command.write_arg(home.as_bytes());
            command.write_arg(id.as_bytes());
            command
        };
        self.all_done(None, self.shards().filter(|shard| !self.parked.has(*shard)), set).await
    }

    /// Combines the metas of all shards that have not moved.
    pub(crate) async fn combined(&self) -> Result<StoreState> {
        let (metas, whereabouts): (Vec<Option<Arc<Meta>>>, _) = (self.metas().await?, self.whereabouts().await?);
        let stayed = metas.iter().zip(&whereabouts).filter(|(_, place)| **place == Whereabouts::Home);
        Ok(match transition::state(stayed.map(|(meta, _)| meta.as_deref())) {
            StoreState::Missing if metas.iter().any(Option::is_some) => StoreState::Mixed,
            state => state,
        })
    }

    /// Parks the shards that are being moved, unless all are, before their metas are written without coverage.
    async fn park_moving(&self, whereabouts: &[Whereabouts]) -> Result<()> {
        let moving = whereabouts.iter().enumerate().filter(|(_, place)| **place == Whereabouts::Moving);
        let moving: BTreeSet<usize> = moving.map(|(shard, _)| shard).collect();
        if moving.len() < whereabouts.len() {
            self.forget_home(moving.iter().copied()).await?;
            *self.parked.shards() = moving;
        }
        Ok(())
    }

    /// Takes the term of every shard. One that has moved gets the state of the others, and covers nothing: the coverage that
    /// is written next begins new generations there, once it is not being moved.
    pub(crate) async fn set_term(&self, state: &Meta, term: u64) -> Result<()> {
        let whereabouts = self.whereabouts().await?;
        self.park_moving(&whereabouts).await?;
        // Each shard keeps its own coverage.
        let state = state.clone().covering(Coverage::EMPTY);
        let mut restarted = state.clone();
        (restarted.term, restarted.vacant, restarted.shards) = (term, false, self.keys().shards());
        let (state, restarted, term) = (state.encode(), restarted.encode(), term.to_be_bytes());
        let call = |shard: usize| {
            if whereabouts[shard] == Whereabouts::Home {
                return self.with_args(&TAKE_TERM, shard, &[&state, &term]);
            }
            tracing::info!(shard, "a shard of the store has moved: what it holds is not used");
            self.with_args(&FLUSH, shard, &[&restarted])
        };
        self.all_done(None, self.shards(), call).await?;
        self.settle().await
    }

    /// Replaces the meta of every shard. One that is being moved covers nothing.
    pub(crate) async fn replace_meta(&self, meta: &Meta) -> Result<()> {
        let meta = transition::flush(None, meta, self.keys().shards())?;
        self.park_moving(&self.whereabouts().await?).await?;
        let (bare, meta) = (meta.clone().covering(Coverage::EMPTY).encode(), meta.encode());
        let call = |shard| self.with_args(&FLUSH, shard, &[if self.parked.has(shard) { &bare } else { &meta }]);
        self.all_done(None, self.shards(), call).await?;
        self.settle().await
    }
}
