//! One write, and what was measured of it here.

use cachefront::{Position, Timestamp};
use serde::Deserialize;

use crate::change_times::ChangeTimes;

/// A change, as `/events` has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Change {
    pub(super) table: String,
    pub(super) op: String,
    pub(super) keys: Vec<String>,
    pub(super) position: String,
    #[serde(default)]
    pub(super) times: ChangeTimes,
}

/// An invalidation that arrived over the bus.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) sent_at: Timestamp,
    pub(super) keys: Vec<Box<str>>,
}

impl Arrival {
    /// Returns its size in memory.
    pub(super) fn bytes(&self) -> usize {
        let keys = self.keys.iter().map(|key| size_of::<Box<str>>() + key.len());
        size_of::<Self>() + keys.sum::<usize>()
    }
}

/// A read by id, whichever tier it was served from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) id: u64,
    pub(super) span: Span,
    /// Commits that the value is proven to contain.
    pub(super) position: Position,
}

/// When a read began and ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
}

/// A write, and what was measured of it here.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) change: Change,
    /// The transaction; `None` if it has no position with which a read could prove anything.
    pub(super) position: Option<Position>,
    /// The user whose row it is, if a key of the cache by id is among its keys.
    pub(super) id: Option<u64>,
    /// True if bus and reads were watched when it was recorded.
    pub(super) watched: bool,
    /// When the invalidation was sent, and when it arrived here.
    pub(super) push: Option<(Timestamp, Timestamp)>,
    /// The first read whose value is proven to contain this write.
    pub(super) first_read: Option<Span>,
}

impl Write {
    pub(super) fn new(change: Change, watched: bool) -> Self {
        let id = change.keys.iter().find_map(|key| key.strip_prefix("users:")?.parse().ok());
        // An empty position is contained in every other.
        let position = change.position.parse().ok().filter(|position: &Position| !position.is_empty());
        Self { change, position, id, watched, push: None, first_read: None }
    }

    /// Notes an invalidation if it is the one of this write: it was sent after the gate and before all was applied, by the clock of
    /// the consumer, and names one of its keys.
    pub(super) fn heard(&mut self, arrival: &Arrival) {
        let times = &self.change.times;
        let (Some(visible), Some(applied)) = (times.visible_us, times.applied_us) else { return };
        let is_its = (visible..=applied).contains(&arrival.sent_at.as_micros())
            && arrival.keys.iter().any(|key| self.change.keys.iter().any(|own| **own == **key));
        if is_its && self.push.is_none() {
            self.push = Some((arrival.sent_at, arrival.at));
        }
    }

    /// Notes a read if its value is proven to contain this write.
    pub(super) fn seen(&mut self, read: &Read) {
        if self.id != Some(read.id) || self.first_read.is_some_and(|first| first.ended <= read.span.ended) {
            return;
        }
        if self.position.as_ref().is_some_and(|position| read.position.covers(position)) {
            self.first_read = Some(read.span);
        }
    }
}
