//! The worlds of a process: one for each session, few, and not for long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::scene::{Scene, Side};
use crate::settings::RaceSettings;
use crate::stage::Stage;
use crate::world::{RaceError, View, World};

#[cfg(test)]
mod tests;

/// The world of a session, held while it is started or advanced.
type Slot = Arc<tokio::sync::Mutex<Option<World>>>;

/// All worlds of a process. The thread that they live on is started by the first request.
#[derive(Debug)]
pub struct Worlds {
    table: Arc<Table>,
    stage: Mutex<Option<Stage>>,
}

#[derive(Debug)]
struct Table {
    settings: RaceSettings,
    slots: Mutex<HashMap<String, Used>>,
    turns: Semaphore,
}

#[derive(Debug)]
struct Used {
    at: Instant,
    slot: Slot,
}

impl Worlds {
    pub fn new(settings: RaceSettings) -> Self {
        let turns = Semaphore::new(settings.steps_at_once);
        Self { table: Arc::new(Table { settings, slots: Mutex::default(), turns }), stage: Mutex::default() }
    }

    /// Returns the number of worlds that are kept.
    pub fn count(&self) -> usize {
        self.table.slots().len()
    }

    /// Plays the scene up to `step` in the world of `session`, and returns what is true then. A world that is at or before this
    /// step of this scene goes on from where it is; any other one is replaced. A step beyond the last one is the last one.
    ///
    /// # Errors
    /// [`RaceError`], with what to do.
    ///
    /// # Cancel safety
    /// If the future is dropped, the steps are played all the same.
    pub async fn show(&self, session: &str, scene: &'static Scene, side: Side, step: usize) -> Result<View, RaceError> {
        let (table, session) = (Arc::clone(&self.table), session.to_owned());
        let playing = {
            // A poisoned lock is usable: no code panics while it holds it.
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            let stage = match &mut *stage {
                Some(stage) => stage,
                none => {
                    let end = Arc::clone(&self.table).close_all();
                    let started = none.insert(Stage::start(end).map_err(RaceError::Thread)?);
                    started.handle.spawn(Arc::clone(&self.table).expire());
                    started
                }
            };
            stage.handle.spawn(async move { table.show(&session, scene, side, step).await })
        };
        playing.await.map_err(RaceError::Ended)?
    }
}

impl Table {
    async fn show(&self, session: &str, scene: &'static Scene, side: Side, step: usize) -> Result<View, RaceError> {
        let slot = self.slot_of(session);
        let turn = async {
            // The session first, so that one that sends many requests takes one turn.
            let world = slot.lock().await;
            (world, self.turns.acquire().await)
        };
        let Ok((mut world, Ok(_turn))) = tokio::time::timeout(self.settings.turn_wait, turn).await else {
            return Err(RaceError::Busy);
        };
        let step = step.min(scene.steps.len());
        let fits = |world: &World| {
            (world.scene.path, world.side) == (scene.path, side)
                && world.at() <= step
                && world.began.elapsed() < self.settings.age_max
        };
        let mut playing = match world.take() {
            Some(kept) if fits(&kept) => kept,
            other => {
                close(other);
                World::open(scene, side, self.settings).await?
            }
        };
        while playing.at() < step {
            if let Err(error) = playing.advance().await {
                close(Some(playing));
                return Err(error);
            }
        }
        let view = playing.view();
        // The slot may have made room for another session in the meantime.
        if self.has(session, &slot) {
            *world = Some(playing);
        } else {
            close(Some(playing));
        }
        Ok(view)
    }

    /// Closes worlds that no request has used for [`RaceSettings::idle_max`].
    async fn expire(self: Arc<Self>) {
        let pause = (self.settings.idle_max / 4).max(Duration::from_millis(10));
        loop {
            tokio::time::sleep(pause).await;
            let idle: Vec<Used> = {
                let mut slots = self.slots();
                let is_idle = |_: &String, used: &mut Used| used.at.elapsed() >= self.settings.idle_max;
                slots.extract_if(is_idle).map(|(_, used)| used).collect()
            };
            idle.into_iter().for_each(end);
        }
    }

    /// Closes all worlds, one after another.
    async fn close_all(self: Arc<Self>) {
        let all: Vec<Used> = self.slots().drain().map(|(_, used)| used).collect();
        for used in all {
            if let Some(world) = used.slot.lock().await.take() {
                world.close().await;
            }
        }
    }

    /// Returns the slot of a session. Beyond the maximum number, the one that was used least recently makes room.
    fn slot_of(&self, session: &str) -> Slot {
        let now = Instant::now();
        let mut slots = self.slots();
        if let Some(used) = slots.get_mut(session) {
            used.at = now;
            return Arc::clone(&used.slot);
        }
        while slots.len() >= self.settings.worlds_max.max(1) {
            let oldest = slots.iter().min_by_key(|(_, used)| used.at).map(|(session, _)| session.clone());
            match oldest.and_then(|session| slots.remove(&session)) {
                Some(used) => end(used),
                None => break,
            }
        }
        let slot = Slot::default();
        slots.insert(session.to_owned(), Used { at: now, slot: Arc::clone(&slot) });
        slot
    }

    fn has(&self, session: &str, slot: &Slot) -> bool {
        self.slots().get(session).is_some_and(|used| Arc::ptr_eq(&used.slot, slot))
    }

    /// A poisoned lock is usable: no code panics while it holds it.
    fn slots(&self) -> MutexGuard<'_, HashMap<String, Used>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the world of a slot that is no longer in the table, once no request uses it.
fn end(used: Used) {
    tokio::spawn(async move { close(used.slot.lock().await.take()) });
}

/// Closes a world in the background: its invalidator finishes what it does.
fn close(world: Option<World>) {
    if let Some(world) = world {
        tokio::spawn(world.close());
    }
}
