//! The store's servers: each has entries, metas and a bus, and can be copied, replaced and demoted.

use std::collections::VecDeque;
use std::sync::Arc;

use cachefront_core::bus::BusMessage;
use cachefront_core::store::transition::{Change, Slot};
use cachefront_core::store::{Meta, ServerId};
use cachefront_core::{Error, ErrorKind, StoreKey};
use tokio::sync::Notify;

use crate::clock::{Moment, shown};
use crate::keys::{LINES, PLACES, place_of, shard_of_place};
use crate::random::Random;

/// How many applied states a server remembers for the oracle.
const REMEMBERED: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    /// A replica of the new primary. It refuses writes; it may copy the primary's data or stand still.
    Demoted {
        follows: bool,
    },
    /// Cut off from the new primary, and still a primary to those who reach it.
    Partitioned,
    /// Gone.
    Down,
}

/// A key that an application has removed by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Discarded {
    /// The last event that was visible before.
    pub(crate) event: usize,
    pub(crate) at: Moment,
    /// The connection that it was done over, or the connection to the bus that said so.
    pub(crate) link: u64,
    /// What the store's server held was replaced this often.
    pub(crate) copies: u64,
}

/// A message as the stream holds it.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) sequence: u64,
    pub(crate) message: BusMessage,
    /// The source's server that its publisher followed when it was sent.
    pub(crate) origin: usize,
    /// What a process had removed by hand over this server before it sent this.
    pub(crate) discarded: Option<Discarded>,
}

/// Everything that a server holds.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) metas: Vec<Option<Arc<Meta>>>,
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) bus: VecDeque<Arc<Posted>>,
    pub(crate) head: u64,
}

impl Data {
    pub(crate) fn new(shards: usize) -> Self {
        Self { metas: vec![None; shards], slots: vec![None; PLACES], bus: VecDeque::new(), head: 0 }
    }

    /// Each shard has a replica of its own, which may be behind the others.
    pub(crate) fn copy_some(&mut self, from: Self, random: &Random) {
        for shard in 0..self.metas.len() {
            if random.chance(600) {
                self.take_shard(shard, &from);
            }
        }
    }

    /// Takes over everything that another copy has of one shard. The bus is on the first shard.
    pub(crate) fn take_shard(&mut self, shard: usize, from: &Self) {
        let shards = self.metas.len();
        for (place, (slot, other)) in self.slots.iter_mut().zip(&from.slots).enumerate() {
            if shard_of_place(place, shards) == shard {
                slot.clone_from(other);
            }
        }
        self.metas[shard].clone_from(&from.metas[shard]);
        if shard == 0 {
            (self.bus, self.head) = (from.bus.clone(), from.head);
        }
    }
}

/// The error of a store that cannot be reached.
pub(crate) fn unavailable(what: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, what)
}

/// The number of the database server of this name.
pub(crate) fn origin_of(name: &str) -> usize {
    name.get(1..).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: ServerId,
    pub(crate) role: Role,
    pub(crate) data: Data,
    /// Counts replacements of everything that it holds.
    pub(crate) copies: u64,
    /// Counts changes of what the metas promise.
    pub(crate) promises: u64,
    /// How far its clock is ahead, in microseconds.
    pub(crate) clock: i64,
    /// The last time at which a shard was known to be held by an invalidator of a former primary of the database, after one of a
    /// later primary.
    pub(crate) torn_at: Moment,
    /// The latest primary of the database that a meta has named: one that was evicted has named it too.
    latest_origin: usize,
    /// What applications have removed by hand.
    pub(crate) discarded: Vec<Option<Discarded>>,
    /// What was applied when.
    pub(crate) history: VecDeque<(Moment, Arc<Meta>)>,
    pub(crate) changed: Arc<Notify>,
}

impl Server {
    pub(crate) fn new(id: u64, data: Data, clock: i64) -> Self {
        Self {
            id: ServerId(id),
            role: Role::Primary,
            data,
            copies: 0,
            promises: 0,
            clock,
            torn_at: 0,
            latest_origin: 0,
            discarded: vec![None; LINES],
            history: VecDeque::new(),
            changed: Arc::default(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.role != Role::Down
    }

    pub(crate) fn takes_writes(&self) -> bool {
        matches!(self.role, Role::Primary | Role::Partitioned)
    }

    pub(crate) fn shard_of(&self, key: &StoreKey) -> usize {
        key.shard(self.data.metas.len() as u32) as usize
    }

    /// The key's slot and its shard's meta, if the slot's time is not over.
    pub(crate) fn look(&self, key: &StoreKey, now: Moment) -> (Option<&Arc<Meta>>, Option<&Slot>) {
        let now = shown(now, self.clock);
        let slot = place_of(key.as_str()).and_then(|place| self.data.slots[place].as_ref());
        (self.data.metas[self.shard_of(key)].as_ref(), slot.filter(|slot| now < slot.expires))
    }

    pub(crate) fn apply(&mut self, key: &StoreKey, change: Change) {
        let Some(place) = place_of(key.as_str()) else { return };
        match change {
            Change::Keep => {}
            Change::Put(slot) => self.data.slots[place] = Some(slot),
            Change::Remove => self.data.slots[place] = None,
        }
    }

    /// True if a shard is held by an invalidator of a former primary of the database, after one of a later primary.
    pub(crate) fn is_torn(&self) -> bool {
        self.data.metas.iter().flatten().any(|meta| origin_of(&meta.origin) < self.latest_origin)
    }

    /// A meta was written.
    pub(crate) fn set_meta(&mut self, shard: usize, meta: Meta, now: Moment) {
        let meta = Arc::new(meta);
        let was_torn = self.is_torn();
        let before = self.data.metas[shard].replace(Arc::clone(&meta));
        self.latest_origin = self.latest_origin.max(origin_of(&meta.origin));
        if was_torn || self.is_torn() {
            self.torn_at = now;
        }
        if before.is_none_or(|before| before.coverage != meta.coverage || before.state != meta.state) {
            self.promises += 1;
        }
        if shard == 0 {
            if self.history.len() == REMEMBERED {
                self.history.pop_front();
            }
            self.history.push_back((now, meta));
        }
    }

    /// What shard 0 had applied at that time.
    pub(crate) fn applied_at(&self, moment: Moment) -> Option<&Arc<Meta>> {
        self.history.iter().rev().find(|(at, _)| *at <= moment).map(|(_, meta)| meta)
    }

    pub(crate) fn post(
        &mut self,
        message: &BusMessage,
        origin: usize,
        discarded: Option<Discarded>,
        kept: usize,
    ) -> u64 {
        self.data.head += 1;
        let posted = Posted { sequence: self.data.head, message: message.clone(), origin, discarded };
        self.data.bus.push_back(Arc::new(posted));
        while self.data.bus.len() > kept {
            self.data.bus.pop_front();
        }
        self.changed.notify_waiters();
        self.data.head
    }

    /// Everything that it holds is replaced.
    pub(crate) fn replace(&mut self, data: Data) {
        self.data = data;
        // With another history it is another server.
        self.id = ServerId(self.id.0.rotate_left(1).wrapping_add(2) | 1);
        self.copies += 1;
        self.promises += 1;
        self.latest_origin =
            self.data.metas.iter().flatten().map(|meta| origin_of(&meta.origin)).max().unwrap_or_default();
        self.history.clear();
        self.changed.notify_waiters();
    }
}
