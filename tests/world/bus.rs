//! The bus of the store's servers, and the readers that follow it.

use std::sync::Arc;

use async_trait::async_trait;
use cachefront_core::bus::{BusEvent, BusMessage, BusRead, BusReader, InvalidationBus};
use cachefront_core::store::ServerId;
use cachefront_core::{Error, ErrorKind, Result};

use crate::clock::{Moment, millis, pass};
use crate::keys::{Line, lines_of, lines_of_text};
use crate::server::{Discarded, Posted, Role, unavailable};
use crate::world::{Handed, World};

#[derive(Debug)]
pub(crate) struct Bus {
    world: Arc<World>,
    actor: usize,
}

impl Bus {
    pub(crate) fn new(world: &Arc<World>, actor: usize) -> Self {
        Self { world: Arc::clone(world), actor }
    }
}

#[async_trait]
impl InvalidationBus for Bus {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        let world = &self.world;
        world.awake(self.actor).await;
        let now = world.now();
        let server = world.state().dial(self.actor, now);
        world.travel(false).await;
        let kept = world.config.bus_kept;
        let mut state = world.state();
        let discarded = state.discarded_by(self.actor, server);
        let server = &mut state.servers[server];
        if server.takes_writes() {
            Ok(server.post(message, 0, discarded, kept))
        } else {
            Err(unavailable("not a primary"))
        }
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        let world = &self.world;
        world.awake(self.actor).await;
        let server = {
            let now = world.now();
            world.state().dial(self.actor, now)
        };
        world.travel(false).await;
        let mut state = world.state();
        let (id, head, takes_writes) = {
            let server = &state.servers[server];
            (server.id, server.data.head, server.takes_writes())
        };
        if !takes_writes {
            return Err(unavailable("the server is not a primary"));
        }
        let me = &mut state.actors[self.actor];
        me.bus = Some(server);
        me.bus_links += 1;
        me.handed = None;
        me.announced.fill(None);
        let link = me.bus_links;
        drop(state);
        world.log(|| format!("{} follows the bus of {server} after {head}", self.actor));
        Ok(Box::new(Reader { world: Arc::clone(world), actor: self.actor, server, id, link, head, read: head }))
    }
}

#[derive(Debug)]
struct Reader {
    world: Arc<World>,
    actor: usize,
    server: usize,
    /// As it was noted when the connection was made.
    id: ServerId,
    link: u64,
    head: u64,
    read: u64,
}

enum Next {
    Messages(Vec<Arc<Posted>>),
    Wait,
    Deaf(Moment),
}

impl Reader {
    /// What there is to read. A server that was demoted is noticed late.
    fn look(&self) -> Result<Next> {
        let now = self.world.now();
        let state = self.world.state();
        let (me, server) = (&state.actors[self.actor], &state.servers[self.server]);
        if me.dead || me.bus_cut >= self.link || !server.is_up() {
            return Err(unavailable("the connection to the bus is cut"));
        }
        if me.deaf_until > now || me.frozen_until > now {
            return Ok(Next::Deaf(me.deaf_until.max(me.frozen_until)));
        }
        let is_frozen = server.role == Role::Demoted { follows: false };
        if is_frozen && self.world.random.chance(200) {
            return Err(unavailable("the server is a replica now"));
        }
        if server.data.head <= self.read {
            return Ok(Next::Wait);
        }
        let trimmed = server.data.bus.front().is_some_and(|posted| posted.sequence > self.read + 1);
        if trimmed && self.world.random.chance(500) {
            return Err(Error::new(ErrorKind::Unavailable, "messages were dropped"));
        }
        let unread = server.data.bus.iter().filter(|posted| posted.sequence > self.read);
        let messages: Vec<_> = unread.take(8).cloned().collect();
        Ok(if messages.is_empty() { Next::Wait } else { Next::Messages(messages) })
    }

    /// Hands messages over: from here on the process knows.
    fn hand(&mut self, messages: &[Arc<Posted>]) -> Vec<BusRead> {
        let mut state = self.world.state();
        let copies = state.servers[self.server].copies;
        let me = &mut state.actors[self.actor];
        for posted in messages {
            self.read = posted.sequence;
            if let Some(discarded) = posted.discarded.filter(|discarded| discarded.copies == copies) {
                for line in lines_of_event(&posted.message.event) {
                    let before = me.announced[line].filter(|before| before.event > discarded.event);
                    me.announced[line] = before.or(Some(Discarded { link: self.link, ..discarded }));
                }
            }
            if let Some(applied) = &posted.message.applied {
                me.handed = Some(Handed { applied: Arc::new(applied.clone()), origin: posted.origin });
            }
        }
        drop(state);
        self.world.log(|| format!("{} is handed the bus up to {}", self.actor, self.read));
        let read = |posted: &Arc<Posted>| BusRead {
            server: self.id,
            sequence: posted.sequence,
            message: posted.message.clone(),
        };
        messages.iter().map(read).collect()
    }
}

/// The lines that a message invalidates by name.
fn lines_of_event(event: &BusEvent) -> Vec<Line> {
    match event {
        BusEvent::Keys(keys) => keys.iter().flat_map(|key| lines_of_text(key)).collect(),
        BusEvent::Caches(caches) => caches.iter().flat_map(|cache| lines_of(cache, None)).collect(),
        _ => Vec::new(),
    }
}

#[async_trait]
impl BusReader for Reader {
    fn head(&self) -> u64 {
        self.head
    }

    fn server(&self) -> ServerId {
        self.id
    }

    async fn next(&mut self) -> Result<Vec<BusRead>> {
        loop {
            let changed = Arc::clone(&self.world.state().servers[self.server].changed);
            let woken = changed.notified();
            match self.look()? {
                Next::Wait => woken.await,
                Next::Deaf(until) => self.world.time.reach(until).await,
                Next::Messages(messages) => {
                    if self.world.random.chance(self.world.config.lost_messages) {
                        // It is lost, which its successor's sequence shows.
                        self.read = messages.first().map_or(self.read, |lost| lost.sequence);
                        continue;
                    }
                    // On its way: what was dropped with the future is read again.
                    let delay = self.world.random.below(4);
                    if delay > 1 {
                        pass(millis(delay)).await;
                    }
                    if !matches!(self.look()?, Next::Deaf(_)) {
                        return Ok(self.hand(&messages));
                    }
                }
            }
        }
    }
}
