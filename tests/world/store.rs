//! A process's connection to the store: what readers do with it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront_core::bus::{Hub, InvalidationBus};
use cachefront_core::store::{
    Coverage, Fill, FillReply, Generation, LeaseReply, LeaseRequest, MappingId, Reading, ServerId, Store, StoreWriter,
    Token, transition,
};
use cachefront_core::{Error, ErrorKind, Result, StoreKey};

use crate::bus::Bus;
use crate::clock::shown;
use crate::keys::{PLACES, is_of_cache};
use crate::server::{Server, unavailable};
use crate::world::World;
use crate::writer::Writer;

/// An actor's connections to the store.
#[derive(Clone)]
pub(crate) struct Conn {
    pub(crate) world: Arc<World>,
    pub(crate) actor: usize,
    hub: Arc<Hub>,
}

impl Conn {
    pub(crate) fn new(world: &Arc<World>, actor: usize) -> Self {
        Self { world: Arc::clone(world), actor, hub: Arc::default() }
    }

    /// The server that is read, over a connection that is made again if there is none.
    fn connected(&self) -> (usize, ServerId) {
        let now = self.world.now();
        let mut state = self.world.state();
        let me = &state.actors[self.actor];
        if let Some(server) = me.reads {
            return (server, me.reads_id);
        }
        let server = state.dial(self.actor, now);
        let id = state.servers[server].id;
        let me = &mut state.actors[self.actor];
        (me.reads, me.reads_id) = (Some(server), id);
        me.moves += 1;
        (server, id)
    }

    fn disconnect(&self, server: usize) {
        let mut state = self.world.state();
        let me = &mut state.actors[self.actor];
        if me.reads == Some(server) {
            me.reads = None;
            me.moves += 1;
        }
    }

    /// One command: there, done at one instant, and back. Either way may lose it.
    /// The command learns the server's identity as it was noted when the connection was made.
    async fn call<T: Send>(&self, writes: bool, command: impl FnOnce(&mut Server, ServerId) -> T + Send) -> Result<T> {
        let world = &self.world;
        world.awake(self.actor).await;
        let (server, id) = self.connected();
        let slow = world.state().slow_until > world.now();
        world.travel(slow).await;
        let lost = world.loses();
        if lost && world.random.chance(500) {
            self.disconnect(server);
            return Err(unavailable("the connection broke on the way"));
        }
        let done = {
            let mut state = world.state();
            let server = &mut state.servers[server];
            if !server.is_up() {
                Err(unavailable("the server is gone"))
            } else if writes && !server.takes_writes() {
                Err(unavailable("the server is a replica now"))
            } else {
                Ok(command(server, id))
            }
        };
        if done.is_err() {
            self.disconnect(server);
            world.travel(false).await;
            return done;
        }
        world.travel(slow).await;
        world.awake(self.actor).await;
        if lost {
            self.disconnect(server);
            return Err(Error::new(ErrorKind::Timeout, "no reply came"));
        }
        done
    }
}

#[async_trait]
impl Store for Conn {
    fn namespace(&self) -> &str {
        "world"
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        let now = self.world.time;
        self.call(false, |server, id| read(server, id, key, now.now())).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        let now = self.world.time;
        self.call(false, |server, id| keys.iter().map(|key| read(server, id, key, now.now())).collect()).await
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        let time = self.world.time;
        self.call(true, |server, id| {
            let now = time.now();
            let (meta, slot) = server.look(request.key, now);
            let (reply, change) = transition::lease(meta, slot, shown(now, server.clock), request);
            server.apply(request.key, change);
            reply.given_by(id)
        })
        .await
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        let time = self.world.time;
        let reply = self
            .call(true, |server, _| {
                let now = time.now();
                let (meta, slot) = server.look(fill.key, now);
                let (reply, change) = transition::fill(meta.map(Arc::as_ref), slot, shown(now, server.clock), fill);
                server.apply(fill.key, change);
                reply
            })
            .await;
        let generation = fill.generation.0 >> 96;
        self.world.log(|| format!("{} fill {} of {generation:08x} {reply:?}", self.actor, fill.key));
        reply
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        let time = self.world.time;
        self.call(true, |server, _| {
            let change = transition::release(server.look(key, time.now()).1, token);
            server.apply(key, change);
        })
        .await
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        self.call(true, |server, _| keys.iter().for_each(|key| server.apply(key, transition::Change::Remove))).await
    }

    async fn discard_cache(&self, cache: &str) -> Result<()> {
        self.world.log(|| format!("{} discards {cache}", self.actor));
        let of_cache: Vec<_> = (0..PLACES).filter(|place| is_of_cache(*place, cache)).collect();
        self.call(true, |server, _| of_cache.iter().for_each(|place| server.data.slots[*place] = None)).await
    }

    async fn covered(&self) -> Result<Coverage> {
        self.call(false, |server, _| Coverage::union(server.data.metas.iter().flatten().map(|meta| &meta.coverage)))
            .await
    }

    async fn flush_caches(&self, rows: &[(MappingId, Generation)]) -> Result<()> {
        let time = self.world.time;
        self.world.log(|| format!("{} flushes {rows:?}", self.actor));
        self.call(true, |server, _| {
            for shard in 0..server.data.metas.len() {
                if let Some(meta) = server.data.metas[shard].as_deref().map(|meta| transition::flush_caches(meta, rows))
                {
                    server.set_meta(shard, meta, time.now());
                }
            }
        })
        .await
    }

    async fn suspend(&self) -> Result<()> {
        let time = self.world.time;
        self.world.log(|| format!("{} suspends", self.actor));
        self.call(true, |server, _| {
            for shard in 0..server.data.metas.len() {
                if let Some(meta) = server.data.metas[shard].as_deref().map(transition::suspend) {
                    server.set_meta(shard, meta, time.now());
                }
            }
        })
        .await?;
        self.world.state().actors[self.actor].session.suspend();
        Ok(())
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        self.world.awake(self.actor).await;
        let server = {
            let now = self.world.now();
            let mut state = self.world.state();
            state.actors[self.actor].session.begin();
            state.dial(self.actor, now)
        };
        self.world.travel(false).await;
        Ok(Box::new(Writer::new(&self.world, self.actor, server)))
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        Arc::new(Bus::new(&self.world, self.actor))
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        Some(&self.hub)
    }
}

fn read(server: &Server, id: ServerId, key: &StoreKey, now: u64) -> Reading {
    let (meta, slot) = server.look(key, now);
    Reading { server: id, meta: meta.cloned(), entry: slot.map(|slot| slot.bytes.clone()) }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("actor", &self.actor).finish_non_exhaustive()
    }
}
