//! One write, and what was measured of it here.

use cachefront::Timestamp;
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

/// A read by id that was served by the store or loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) id: u64,
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) loaded: bool,
}

/// A write, and what was measured of it here.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) change: Change,
    /// The user whose row it is, if a key of the cache by id is among its keys.
    pub(super) id: Option<u64>,
    /// True if bus and reads were watched when it was recorded.
    pub(super) watched: bool,
    /// When the invalidation was sent, and when it arrived here.
    pub(super) push: Option<(Timestamp, Timestamp)>,
    pub(super) first_read: Option<Read>,
}

impl Write {
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

    /// Notes a read if it came after this write: the load began when the commit was visible, or the store had the value
    /// after the entry was removed.
    pub(super) fn seen(&mut self, read: &Read) {
        if self.id != Some(read.id) || self.first_read.is_some_and(|first| first.ended <= read.ended) {
            return;
        }
        let times = &self.change.times;
        let from = match read.loaded {
            true => times.visible_us.or(times.committed_us),
            false => times.applied_us,
        };
        if from.is_some_and(|from| read.began.as_micros() >= from) {
            self.first_read = Some(*read);
        }
    }
}
