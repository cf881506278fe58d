//! How a process loads from the database: the primary, a former primary that it is still connected to, or the replica.

use std::sync::Arc;

use cachefront_core::{LoadCx, Loader, Position};

use crate::clock::{Moment, millis, pass};
use crate::keys::{Key, Line, line};
use crate::world::World;

#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) world: Arc<World>,
    pub(crate) actor: usize,
}

/// What is read of the database at one instant.
struct Seen {
    event: usize,
    executed: Arc<Position>,
    /// The name of the primary that was read; none if it was the replica.
    primary: Option<Arc<str>>,
}

impl Rows {
    fn look(&self) -> Seen {
        let now = self.world.now();
        let mut state = self.world.state();
        let (server, on_replica) = (state.actors[self.actor].database, state.actors[self.actor].on_replica);
        if !on_replica && server != state.database.primary() {
            state.former_asked = now;
        }
        let database = &mut state.database;
        let event = if on_replica { database.on_replica(now) } else { database.visible(server, now) };
        let primary = (!on_replica).then(|| Arc::clone(&database.servers[server].name));
        Seen { event, executed: Arc::clone(&database.events[event].executed), primary }
    }

    /// Loads one value, and says what is known about it.
    pub(crate) async fn read(&self, key: Key, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        let begun = self.world.now();
        let draw = self.world.random.next();
        self.world.awake(self.actor).await;
        self.world.travel(false).await;
        let mut before = self.look();
        if let Some(fence) = cx.fence() {
            let deadline = self.world.now() + cx.fence_wait().as_micros() as u64;
            while !before.executed.covers(fence) && self.world.now() < deadline {
                pass(millis(1)).await;
                before = self.look();
            }
        }
        cx.position(Position::clone(&before.executed));
        match &before.primary {
            Some(primary) => cx.origin(primary),
            None => cx.replica(),
        }
        match draw % 100 {
            97..=99 if self.world.is_calm() => {}
            0..=59 => {}
            60..=79 => tokio::task::yield_now().await,
            80..=96 => pass(millis(1 + (draw >> 32) % 4)).await,
            97 => pass(millis((draw >> 32) % 500)).await,
            98 => cx.no_store(),
            _ => return Err(self.fail(key)),
        }
        if self.world.random.chance(10 * self.world.config.lives.failing) && !self.world.is_calm() {
            return Err(self.fail(key));
        }
        let seen = self.look();
        if seen.primary != before.primary {
            return Err(self.fail(key));
        }
        let line = line(key.kind, key);
        let value = self.world.state().database.value_at(line, seen.event);
        self.world.travel(false).await;
        self.world.awake(self.actor).await;
        self.note(line, begun, value);
        Ok(value)
    }

    fn fail(&self, key: Key) -> std::io::Error {
        let now = self.world.now();
        self.world.state().actors[self.actor].failed[key.kind as usize] = Some(now);
        std::io::Error::other("the load failed")
    }

    /// Notes what was loaded, for the oracle.
    fn note(&self, line: Line, begun: Moment, value: Option<u64>) {
        self.world.log(|| format!("{} loads {line} = {value:?}", self.actor));
        let mut state = self.world.state();
        let state = &mut *state;
        for loads in [&mut state.last_loads[line], &mut state.actors[self.actor].loads[line]] {
            let last = loads.entry(value).or_default();
            *last = begun.max(*last);
        }
    }
}

impl Loader<Key, u64> for Rows {
    type Error = std::io::Error;

    async fn load(&self, key: &Key, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        self.read(*key, cx).await
    }
}
