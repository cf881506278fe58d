//! One partition, as far as it was read.

use cachefront_core::{Error, Gtid, Result};

use crate::brokers::{Bounds, Partition};
use crate::checkpoint::Place;
use crate::error::gap;
use crate::reader::Command;

/// One partition of a session.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) partition: Partition,
    /// Its records tell of transactions, not of rows.
    pub(crate) tells_transactions: bool,
    /// The next record to come.
    pub(crate) next: i64,
    /// Offset and time of the record before it.
    pub(crate) seen: Option<(i64, i64)>,
    /// Where the partition ended when the generation began; 0 if that is long ago.
    pub(crate) end: i64,
    pub(crate) settled: Settled,
    pub(crate) paused: bool,
    /// The transaction of the last record that named one.
    pub(crate) last: Option<Gtid>,
    /// What could not be understood before the generation's beginning, as long as that is not proven to cover it.
    pub(crate) doubt: Option<Error>,
    /// The record to be found again at the beginning.
    fence: Option<(i64, i64)>,
    start: i64,
}

/// Whether reading began early enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Yes,
    /// Not known before a record shows that what is older was visible when the generation began.
    Tail {
        /// The first offset that is read.
        start: i64,
        /// Records at or after this one may still come from a later start; no such once an earlier one came.
        before: i64,
        low: i64,
    },
}

impl Lane {
    /// A partition to be read from `place`, or from its beginning; `tail` records before it if that was its end.
    pub(crate) fn new(
        partition: Partition,
        place: Option<Place>,
        bounds: Bounds,
        tail: Option<i64>,
        tells_transactions: bool,
    ) -> Self {
        let next = place.map_or(bounds.low, |place| place.next);
        let mut lane = Self {
            partition,
            tells_transactions,
            next,
            seen: None,
            end: 0,
            settled: Settled::Yes,
            paused: false,
            last: None,
            doubt: None,
            fence: None,
            start: next,
        };
        match (place, tail) {
            (Some(_), Some(tail)) => {
                lane.end = next;
                lane.start = (next - tail).max(bounds.low);
                lane.next = lane.start;
                if lane.start > bounds.low {
                    lane.settled = Settled::Tail { start: lane.start, before: i64::MAX, low: bounds.low };
                }
            }
            (Some(Place { seen: Some(seen), .. }), None) if bounds.low <= seen.0 && seen.0 < next => {
                lane.fence = Some(seen);
                lane.seen = Some(seen);
                lane.start = seen.0;
            }
            _ => {}
        }
        lane
    }

    /// Where the client begins to read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled == Settled::Yes
    }

    /// Notes that a record came. False if it is only the one to be found again.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if that is another record than it was.
    pub(crate) fn pass(&mut self, offset: i64, time: i64) -> Result<bool> {
        if let Some(fence) = self.fence.take()
            && offset <= fence.0
        {
            if (offset, time) != fence {
                return Err(gap(format!(
                    "the record at offset {} of {} is another one than before: the topic was deleted and made anew",
                    fence.0, self.partition
                )));
            }
            return Ok(false);
        }
        self.next = offset + 1;
        self.seen = Some((offset, time));
        if let Settled::Tail { before, .. } = &mut self.settled
            && offset < *before
        {
            *before = i64::MAX;
        }
        self.settle_at_end();
        Ok(true)
    }

    /// Notes that the client has passed all records before this offset. The last ones of a partition may be such as it
    /// keeps to itself: the ends of transactions of the producer, and records of those that were aborted.
    pub(crate) fn reach(&mut self, next: i64) {
        // After a seek the client says where it was before, until the first record comes.
        if matches!(self.settled, Settled::Tail { before, .. } if before < i64::MAX) {
            return;
        }
        self.next = self.next.max(next);
        self.settle_at_end();
    }

    fn settle_at_end(&mut self) {
        // A tail without any transaction in it holds nothing that could be missed.
        if self.next >= self.end
            && matches!(self.settled, Settled::Tail { before: i64::MAX, .. })
            && self.last.is_none()
        {
            self.settled = Settled::Yes;
        }
    }

    /// Judges by the first record with a transaction whether reading began early enough, and else goes further back.
    pub(crate) fn settle(&mut self, is_past: bool) -> Option<Command> {
        let Settled::Tail { start, before, low } = self.settled else { return None };
        // Records that were on their way when reading went further back say nothing about that.
        if before < i64::MAX {
            return None;
        }
        if is_past || start <= low {
            self.settled = Settled::Yes;
            return None;
        }
        let length = (self.end - start).saturating_mul(2);
        let earlier = (self.end - length).max(low);
        self.settled = Settled::Tail { start: earlier, before: start, low };
        Some(Command::Seek(self.partition.clone(), earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition { topic: "t".into(), number: 0 }
    }

    fn at_end(next: i64, low: i64) -> Lane {
        Lane::new(partition(), Some(Place { next, seen: None }), Bounds { low, high: next }, Some(100), false)
    }

    #[test]
    fn a_new_partition_is_read_from_its_beginning() {
        let lane = Lane::new(partition(), None, Bounds { low: 7, high: 9 }, Some(100), false);
        assert_eq!((lane.start(), lane.next, lane.is_settled()), (7, 7, true));
    }

    #[test]
    fn a_generations_end_is_read_from_a_little_before() {
        let mut lane = at_end(1_000, 0);
        assert_eq!(lane.start(), 900);
        assert!(!lane.is_settled());
        assert!(lane.pass(900, 1).expect("no fence"));
        assert!(lane.settle(true).is_none());
        assert!(lane.is_settled(), "what is older was visible");
    }

    #[test]
    fn a_tail_of_one_large_transaction_is_followed_back() {
        let mut lane = at_end(1_000, 0);
        lane.pass(900, 1).expect("no fence");
        let Some(Command::Seek(_, 800)) = lane.settle(false) else { panic!("twice as far back") };
        lane.pass(901, 1).expect("no fence");
        assert!(lane.settle(true).is_none() && !lane.is_settled(), "it was on its way before");
        lane.pass(800, 1).expect("no fence");
        assert!(lane.settle(true).is_none() && lane.is_settled());
        let mut short = at_end(150, 0);
        short.pass(50, 1).expect("no fence");
        let Some(Command::Seek(_, 0)) = short.settle(false) else { panic!("back to the beginning") };
        short.pass(0, 1).expect("no fence");
        assert!(short.settle(false).is_none() && short.is_settled(), "there is nothing before it");
    }

    #[test]
    fn an_end_without_records_is_reached_and_settles() {
        let mut lane = at_end(1_000, 0);
        lane.pass(990, 1).expect("no fence");
        lane.reach(999);
        assert_eq!((lane.next, lane.is_settled()), (999, false));
        lane.reach(1_000);
        assert_eq!((lane.next, lane.is_settled()), (1_000, true), "no transaction is in the tail");
        lane.reach(998);
        assert_eq!(lane.next, 1_000, "it never goes back");
        let mut sought = at_end(1_000, 0);
        sought.pass(900, 1).expect("no fence");
        assert!(sought.settle(false).is_some(), "it is read from further back");
        sought.reach(1_000);
        assert_eq!(sought.next, 901, "that was before the seek");
    }

    #[test]
    fn another_record_in_the_same_place_is_a_gap() {
        let place = Place { next: 12, seen: Some((11, 500)) };
        let lane = || Lane::new(partition(), Some(place), Bounds { low: 0, high: 20 }, None, false);
        assert_eq!(lane().start(), 11);
        assert!(!lane().pass(11, 500).expect("the same"), "it was handed over before");
        assert!(lane().pass(11, 501).is_err());
        assert!(lane().pass(13, 1).expect("compacted away"), "no record there any more");
        let gone = Lane::new(partition(), Some(place), Bounds { low: 12, high: 20 }, None, false);
        assert_eq!(gone.start(), 12, "retention has removed it: nothing to compare");
    }
}
