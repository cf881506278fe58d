//! How a process loads from the database: the primary, a former primary that it is still connected to, or the replica.

use std::collections::HashMap;
use std::sync::Arc;

use cachefront_core::{LoadCx, LoadedValue, Loader, Position};

use crate::clock::{Moment, millis, pass};
use crate::features::Tags;
use crate::keys::{Key, Line, line, tag_of};
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
        if self.sets_tag(key) {
            cx.tag(&tag_of(key.number));
        }
        let line = line(key.kind, key);
        let value = self.world.state().database.value_at(line, seen.event);
        self.world.travel(false).await;
        self.world.awake(self.actor).await;
        self.note(line, begun, value);
        Ok(value)
    }

    /// Loads many keys from one snapshot; one may fail by itself.
    async fn read_snapshot(&self, keys: &[Key], cx: &LoadCx) -> Result<Each, std::io::Error> {
        let begun = self.world.now();
        let Some(first) = keys.first() else { return Ok(Each::new()) };
        // As one load: the position, the server, the fence, and what else may happen.
        self.read(*first, cx).await?;
        let before = cx.notes().origin.clone();
        let seen = self.look();
        if seen.primary.as_deref() != before.as_deref() {
            return Err(self.fail(*first));
        }
        let mut each = Each::new();
        for key in keys {
            let line = line(key.kind, *key);
            if self.world.config.lives.failing > 0 && self.world.random.chance(20) && !self.world.is_calm() {
                each.insert(*key, Err(self.fail(*key)));
                continue;
            }
            let value = self.world.state().database.value_at(line, seen.event);
            self.note(line, begun, value);
            let loaded = LoadedValue::from(value);
            let loaded = if self.sets_tag(*key) { loaded.tag(&tag_of(key.number)) } else { loaded };
            each.insert(*key, Ok(loaded));
        }
        self.world.travel(false).await;
        self.world.awake(self.actor).await;
        Ok(each)
    }

    fn sets_tag(&self, key: Key) -> bool {
        let features = self.world.config.features;
        features.has_tags(key.kind) && features.tags == Tags::OfLoads
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

    async fn load_each(&self, keys: &[Key], cx: &LoadCx) -> Result<Each, std::io::Error> {
        if self.world.config.features.snapshots {
            return self.read_snapshot(keys, cx).await;
        }
        let mut each = Each::new();
        for key in keys {
            each.insert(*key, Ok(self.read(*key, cx).await?.into()));
        }
        Ok(each)
    }

    async fn executed(&self, _cx: &LoadCx) -> Result<Option<Position>, std::io::Error> {
        self.world.travel(false).await;
        let now = self.world.now();
        let mut state = self.world.state();
        let server = state.actors[self.actor].database;
        if server != state.database.primary() {
            state.former_asked = now;
        }
        let event = state.database.visible(server, now);
        Ok(Some(Position::clone(&state.database.events[event].executed)))
    }
}

/// What came of each key.
type Each = HashMap<Key, Result<LoadedValue<u64>, std::io::Error>>;
