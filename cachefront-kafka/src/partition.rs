//! The reading state of one partition: its next offset, and whether reading began early enough.
//!
//! # Where reading begins
//!
//! | session | partition | begins at |
//! |---|---|---|
//! | resumes | in the checkpoint | the record before its offset. The last one that was read must be the same |
//! | resumes | not in the checkpoint | its beginning, which must not be gone |
//! | begins a generation | in the head | `tail_records` before the end, twice as far until that is enough |
//!
//! The last line has a reason: MySQL writes a commit to its log before readers can see it. A commit
//! may so be on Kafka before the end that was read, and missing in the set that the database
//! returned after it. Reading further back finds it; a record whose transaction is in that set
//! proves that all earlier ones of its partition are, too.

use cachefront_core::{Error, Gtid, Result};

use crate::brokers::{Bounds, TopicPartition};
use crate::checkpoint::ResumePoint;
use crate::error::gap;
use crate::reader::Command;

/// The reading state of one partition in a session.
///
/// It has no access to Kafka: offsets go in, commands come out.
#[derive(Debug)]
pub(crate) struct PartitionState {
    pub(crate) partition: TopicPartition,
    /// Its records are the begin and end of transactions, not rows.
    pub(crate) has_transactions: bool,
    /// The offset of the next record.
    pub(crate) next: i64,
    /// Offset and time of the record before it.
    pub(crate) seen: Option<(i64, i64)>,
    /// The partition's end when the generation began; 0 if the session resumed a generation.
    pub(crate) end: i64,
    pub(crate) settled: Settled,
    pub(crate) paused: bool,
    /// The transaction of the last record that names one.
    pub(crate) last: Option<Gtid>,
    /// The error of a record before the generation's beginning that could not be decoded, until it is proven that the
    /// generation covers the record.
    pub(crate) doubt: Option<Error>,
    /// Offset and time of the last record read before the restart, which must be found again.
    expected: Option<(i64, i64)>,
    start: i64,
}

/// Whether reading began early enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Yes,
    /// Unknown until a record proves that all earlier ones were visible when the generation began.
    Tail {
        /// The first offset read.
        start: i64,
        /// After a seek: records at or after this offset may still be those fetched before it. `i64::MAX` as soon as
        /// an earlier record arrives.
        before: i64,
        /// The first offset that the partition still has.
        low: i64,
    },
}

impl PartitionState {
    /// Reads a partition from `point`, or from its beginning. `tail` is the number of records to read before `point`, if
    /// that was the partition's end when a generation began.
    pub(crate) fn new(
        partition: TopicPartition,
        point: Option<ResumePoint>,
        bounds: Bounds,
        tail: Option<i64>,
        has_transactions: bool,
    ) -> Self {
        let next = point.map_or(bounds.low, |point| point.next);
        let mut state = Self {
            partition,
            has_transactions,
            next,
            seen: None,
            end: 0,
            settled: Settled::Yes,
            paused: false,
            last: None,
            doubt: None,
            expected: None,
            start: next,
        };
        match (point, tail) {
            (Some(_), Some(tail)) => {
                state.end = next;
                state.start = (next - tail).max(bounds.low);
                state.next = state.start;
                if state.start > bounds.low {
                    state.settled = Settled::Tail { start: state.start, before: i64::MAX, low: bounds.low };
                }
            }
            (Some(ResumePoint { seen: Some(seen), .. }), None) if bounds.low <= seen.0 => {
                state.expected = Some(seen);
                state.seen = Some(seen);
                state.start = next.min(seen.0);
            }
            _ => {}
        }
        state
    }

    /// Returns the offset at which the client starts to read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// True if it is known that reading began early enough.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled == Settled::Yes
    }

    /// Records that a record arrived. Returns false if it is only the expected one from before the restart.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if it is not the expected one.
    pub(crate) fn pass(&mut self, offset: i64, time: i64) -> Result<bool> {
        // A later record is no sign: compaction may have removed the expected one.
        if let Some(expected) = self.expected.take_if(|expected| offset >= expected.0)
            && offset == expected.0
        {
            if time != expected.1 {
                return Err(gap(format!(
                    "the record at offset {} of {} is not the one read before: the topic was deleted and created again",
                    expected.0, self.partition
                )));
            }
            // It was handed over, unless reading began before it.
            if offset < self.next {
                return Ok(false);
            }
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

    /// Records that the client has read everything before this offset. Transaction markers of the producer and records of
    /// aborted transactions take offsets too, and the client does not return them.
    pub(crate) fn reach(&mut self, next: i64) {
        // After a seek the client reports its position before the seek until the first record arrives.
        if matches!(self.settled, Settled::Tail { before, .. } if before < i64::MAX) {
            return;
        }
        self.next = self.next.max(next);
        self.settle_at_end();
    }

    /// Records that the client has sought: no record that was fetched before arrives any more. The records from the new start
    /// on may be gone, by compaction.
    pub(crate) fn sought(&mut self) {
        if let Settled::Tail { before, .. } = &mut self.settled {
            *before = i64::MAX;
        }
    }

    /// Settles a partition whose tail was read to its end without a transaction.
    fn settle_at_end(&mut self) {
        // A tail without any transaction contains no change that could be missed.
        if self.next >= self.end
            && matches!(self.settled, Settled::Tail { before: i64::MAX, .. })
            && self.last.is_none()
        {
            self.settled = Settled::Yes;
        }
    }

    /// Decides by the first record with a transaction whether reading began early enough; if not, returns a seek further
    /// back. `is_past` tells whether the generation covers that transaction.
    pub(crate) fn settle(&mut self, is_past: bool) -> Option<Command> {
        let Settled::Tail { start, before, low } = self.settled else { return None };
        // Records that were fetched before the seek prove nothing about the new start.
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

    fn partition() -> TopicPartition {
        TopicPartition { topic: "t".into(), number: 0 }
    }

    fn at_end(next: i64, low: i64) -> PartitionState {
        PartitionState::new(
            partition(),
            Some(ResumePoint { next, seen: None }),
            Bounds { low, high: next },
            Some(100),
            false,
        )
    }

    #[test]
    fn a_new_partition_is_read_from_its_beginning() {
        let state = PartitionState::new(partition(), None, Bounds { low: 7, high: 9 }, Some(100), false);
        assert_eq!((state.start(), state.next, state.is_settled()), (7, 7, true));
    }

    #[test]
    fn a_generation_starts_before_the_end() {
        let mut state = at_end(1_000, 0);
        assert_eq!(state.start(), 900);
        assert!(!state.is_settled());
        assert!(state.pass(900, 1).expect("no expected record"));
        assert!(state.settle(true).is_none());
        assert!(state.is_settled(), "older records were visible");
    }

    #[test]
    fn a_tail_within_one_large_transaction_is_extended() {
        let mut state = at_end(1_000, 0);
        state.pass(900, 1).expect("no expected record");
        let Some(Command::Seek(_, 800)) = state.settle(false) else { panic!("twice as far back") };
        state.pass(901, 1).expect("no expected record");
        assert!(state.settle(true).is_none() && !state.is_settled(), "it was fetched before the seek");
        state.pass(800, 1).expect("no expected record");
        assert!(state.settle(true).is_none() && state.is_settled());
        let mut short = at_end(150, 0);
        short.pass(50, 1).expect("no expected record");
        let Some(Command::Seek(_, 0)) = short.settle(false) else { panic!("a seek to the beginning") };
        short.pass(0, 1).expect("no expected record");
        assert!(short.settle(false).is_none() && short.is_settled(), "no record precedes it");
    }

    #[test]
    fn a_seek_into_a_hole_settles() {
        let mut state = at_end(1_000, 850);
        state.pass(900, 1).expect("no expected record");
        let Some(Command::Seek(_, 850)) = state.settle(false) else { panic!("a seek to the beginning") };
        state.pass(901, 1).expect("it was fetched before the seek");
        assert!(state.settle(false).is_none() && !state.is_settled());
        state.sought();
        state.pass(900, 1).expect("the first record after the hole");
        assert!(state.settle(false).is_none() && state.is_settled(), "no record precedes it");
    }

    #[test]
    fn a_rewound_partition_recognises_another_record() {
        let point = ResumePoint { next: 10, seen: Some((12, 500)) };
        let state = || PartitionState::new(partition(), Some(point), Bounds { low: 0, high: 20 }, None, false);
        assert_eq!((state().start(), state().next), (10, 10), "a transaction was incomplete");
        let mut same = state();
        assert!(same.pass(10, 1).expect("it is read again"));
        assert!(same.pass(12, 500).expect("the same"), "it is read again too");
        assert_eq!(same.next, 13);
        let mut other = state();
        other.pass(10, 1).expect("unknown so far");
        assert!(other.pass(12, 501).is_err(), "the topic was created again");
        let mut compacted = state();
        compacted.pass(10, 1).expect("it is read again");
        assert!(compacted.pass(13, 1).expect("the expected record is gone"));
    }

    #[test]
    fn an_end_without_records_is_reached_and_settles() {
        let mut state = at_end(1_000, 0);
        state.pass(990, 1).expect("no expected record");
        state.reach(999);
        assert_eq!((state.next, state.is_settled()), (999, false));
        state.reach(1_000);
        assert_eq!((state.next, state.is_settled()), (1_000, true), "the tail has no transaction");
        state.reach(998);
        assert_eq!(state.next, 1_000, "the offset never decreases");
        let mut sought = at_end(1_000, 0);
        sought.pass(900, 1).expect("no expected record");
        assert!(sought.settle(false).is_some(), "reading restarts further back");
        sought.reach(1_000);
        assert_eq!(sought.next, 901, "the report precedes the seek");
    }

    #[test]
    fn another_record_at_the_same_offset_is_a_gap() {
        let point = ResumePoint { next: 12, seen: Some((11, 500)) };
        let state = || PartitionState::new(partition(), Some(point), Bounds { low: 0, high: 20 }, None, false);
        assert_eq!(state().start(), 11);
        assert!(!state().pass(11, 500).expect("the same"), "it was handed over before");
        assert!(state().pass(11, 501).is_err());
        assert!(state().pass(13, 1).expect("compacted away"), "the record is gone");
        let gone = PartitionState::new(partition(), Some(point), Bounds { low: 12, high: 20 }, None, false);
        assert_eq!(gone.start(), 12, "retention has removed the expected record");
    }
}
