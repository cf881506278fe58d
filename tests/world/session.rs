//! The oracle of an invalidator's sessions: what one writes, in which order, and whether it gets on. No answer shows at
//! once that a rule of these was broken: another one holds for a while, or only time is lost.

use cachefront_core::bus::BusEvent;
use cachefront_core::store::{Generation, Meta};
use cachefront_core::{Position, StoreKey};

use crate::clock::{Moment, millis};
use crate::config::Config;
use crate::keys::{PLACES, place_of};
use crate::server::Server;

/// What an invalidator has done since its session with the store began.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// It has announced itself on the bus.
    pub(crate) runs: bool,
    /// Its last write marked the meta vacant.
    pub(crate) resigned: bool,
    /// It has flushed the store, and not said so on the bus.
    unannounced: bool,
    /// What its gate refused last.
    refused: Option<Refused>,
    /// What its gate showed after it had refused it, while the store was not suspended.
    shown_unsuspended: Option<Position>,
    suspended: bool,
    /// When it last sent a message.
    spoke_at: Option<Moment>,
    /// The places whose keys it has removed from the store since it last wrote what is applied.
    removed: [bool; PLACES],
}

/// A position that a database server did not show yet.
#[derive(Debug)]
struct Refused {
    position: Position,
    server: usize,
}

impl Session {
    /// The invalidator connects to the store.
    pub(crate) fn begin(&mut self) {
        *self = Self::default();
    }

    /// The invalidator reads the state of the store: what it waits for now has nothing to do with what it waited for before.
    pub(crate) fn look(&mut self) {
        self.refused = None;
        self.shown_unsuspended = None;
        self.suspended = false;
    }

    pub(crate) fn suspend(&mut self) {
        self.suspended = true;
    }

    /// Judges a wait at the gate of `server`, which shows everything of `visible`.
    pub(crate) fn wait(&mut self, position: &Position, server: usize, visible: &Position) -> Option<&'static str> {
        self.shown_unsuspended = None;
        let before = self.refused.take().filter(|before| before.server == server)?;
        if before.position == *position {
            self.refused = Some(before);
            return None;
        }
        let newer = position.covers(&before.position) && visible.covers(&before.position);
        newer.then_some("what the invalidator waited for is visible, and it waits for something newer")
    }

    /// Notes what the gate of `server` replied.
    pub(crate) fn waited(&mut self, position: &Position, server: usize, is_visible: bool) {
        if !is_visible {
            self.refused = Some(Refused { position: position.clone(), server });
        } else if let Some(refused) = self.refused.take()
            && !self.suspended
        {
            self.shown_unsuspended = Some(refused.position).filter(|refused| refused == position);
        }
    }

    /// Judges a flush that begins ("Flush order").
    pub(crate) fn flush(&mut self, meta: &Meta) -> Option<&'static str> {
        self.runs = false;
        self.suspended = false;
        let unsuspended = self.shown_unsuspended.take().is_some_and(|shown| shown == *meta.applied());
        unsuspended.then_some("the store was not suspended while the head of its flush was not visible")
    }

    pub(crate) fn flushed(&mut self) {
        self.unannounced = true;
    }

    /// Judges any other write of a meta.
    pub(crate) fn write(&mut self) -> Option<&'static str> {
        self.shown_unsuspended = None;
        self.unannounced.then_some("the store was flushed, and the bus does not say so")
    }

    /// Notes the invalidation of keys in the store.
    pub(crate) fn remove<'a>(&mut self, keys: impl Iterator<Item = &'a StoreKey>) {
        for place in keys.filter_map(|key| place_of(key.as_str())) {
            self.removed[place] = true;
        }
    }

    /// What is applied was written.
    pub(crate) fn commit(&mut self) {
        self.removed = [false; PLACES];
    }

    /// Judges the invalidation of keys in the store ("High watermark").
    pub(crate) fn invalidate(server: &Server, generation: Generation) -> Option<&'static str> {
        let is_named = |meta: &Meta| meta.generation != generation || meta.high_watermark > meta.applied_order;
        let named = server.data.metas.iter().flatten().all(|meta| is_named(meta));
        (!named).then_some("keys are invalidated for a batch that a high watermark does not name")
    }

    /// Judges a message on the bus.
    pub(crate) fn publish(&mut self, event: &BusEvent, config: &Config) -> Option<&'static str> {
        match event {
            BusEvent::Flush => self.unannounced = false,
            _ if self.unannounced => return Some("the store was flushed, and the bus does not say so"),
            BusEvent::Heartbeat(_) => self.runs = true,
            BusEvent::Keys(keys) if !keys.iter().filter_map(|key| place_of(key)).all(|place| self.removed[place]) => {
                return Some("keys are announced that the store still has");
            }
            BusEvent::Caches(_) if !config.odd_changes => {
                return Some("a cache was flushed, and every change of it can be mapped");
            }
            _ => {}
        }
        None
    }

    /// Judges the time since its last message, while nothing is slow ("The loop turns").
    pub(crate) fn speak(&mut self, now: Moment, calm_since: Moment, config: &Config) -> Option<&'static str> {
        let before = self.spoke_at.replace(now).filter(|before| calm_since > 0 && *before > calm_since)?;
        let longest = config.heartbeat + millis(400);
        let is_long = now - before > longest.as_micros() as Moment;
        is_long.then_some("an invalidator was silent while nothing was slow")
    }
}
