//! Tracks which transactions are complete: events arrive on several partitions, and the transaction topic has their
//! number for each table ([transaction metadata]).
//!
//! A transaction is complete when its END and every counted event of every table of interest were read, and every
//! transaction that began before it on the transaction topic is complete. Repeated events count once: a connector emits
//! some again after a restart. A *marker* is a row with the set of transactions that were executed when it was written.
//! All of them precede the marker in the log, so they are complete when the marker's own transaction is. That covers
//! transactions without events: other tables, DDL, an idle server.
//!
//! [transaction metadata]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-transaction-metadata
//!
//! # Example
//! A transaction changes two rows of `users` and one of `orders`:
//!
//! ```text
//! shop.transaction   BEGIN uuid:23                     END uuid:23, users 2, orders 1
//! shop.app.users         row 1 of users    row 2 of users
//! shop.app.orders                              row 1 of orders
//! ```
//!
//! The partitions are read in any order relative to each other. `uuid:23` is complete when both
//! ends of its line and all three rows were read. Then the position advances over it, unless a transaction that began before is
//! still incomplete: a set with holes is a valid position, but the order of the transaction topic lets it stay short.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use cachefront_core::event::TableName;
use cachefront_core::{Gtid, Position};

use crate::event::BlockOrder;

/// The index of a partition in the session, and an offset in it.
pub(crate) type PartitionOffset = (usize, i64);

/// Tracks transactions from their first event until they are complete.
#[derive(Debug)]
pub(crate) struct Tracker {
    position: Position,
    /// Incomplete transactions, in the order of their BEGINs.
    begun: VecDeque<Gtid>,
    /// Transactions whose first event preceded their BEGIN, in this order. Some have begun or completed since.
    awaiting: VecDeque<Gtid>,
    open: HashMap<Gtid, Open>,
    /// Transactions in complete markers that are not in the position yet.
    executed: Position,
    /// True while records that no transaction counts may precede what was read.
    holds_markers: bool,
    /// Maximum number of ranges of the position, for each origin, beyond `ranges_given`.
    ranges_max: usize,
    /// The most ranges of an origin in the server's own set, as the last marker or the checkpoint has it.
    ranges_given: usize,
}

/// An incomplete transaction.
///
/// Its size does not depend on the number of rows: consecutive numbers of events are one range.
#[derive(Debug, Default)]
struct Open {
    begun: bool,
    /// Number of events of each table of interest; `None` before the END.
    counts: Option<Vec<(TableName, u64)>>,
    /// The events read, for each table.
    seen: Vec<(TableName, Ranges)>,
    /// The offset of its first record on each partition.
    firsts: Vec<PartitionOffset>,
    marker: Option<Position>,
}

/// A transaction that waits for records which may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) gtid: Gtid,
    pub(crate) missing: Missing,
}

/// The records that a transaction waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Its BEGIN, although rows were read.
    Begin,
    /// Its END, although later transactions have begun.
    End,
    /// Events of a table: fewer were read than its END counts.
    Events { table: TableName, read: u64, count: u64 },
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gtid = &self.gtid;
        match &self.missing {
            Missing::Begin => write!(
                f,
                "transaction {gtid} has rows but no BEGIN: check whether records were removed from the transaction topic"
            ),
            Missing::End => write!(
                f,
                "transaction {gtid} has no END although later transactions have begun: check whether records were removed \
                 from the transaction topic"
            ),
            Missing::Events { table, read, count } => write!(
                f,
                "transaction {gtid} has {count} events of {table}, and only {read} were read: check whether records were \
                 removed from a topic or a transformation drops some"
            ),
        }
    }
}

impl Tracker {
    /// `position` is that of the checkpoint that the session was opened with.
    pub(crate) fn new(position: Position, ranges_max: usize) -> Self {
        Self {
            // No more than it has: it may have been limited before.
            ranges_given: ranges_of(&position).saturating_sub(ranges_max),
            position,
            begun: VecDeque::new(),
            awaiting: VecDeque::new(),
            open: HashMap::new(),
            executed: Position::new(),
            holds_markers: false,
            ranges_max,
        }
    }

    /// Returns the set of complete transactions.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// True if the transaction is complete.
    pub(crate) fn is_past(&self, gtid: &Gtid) -> bool {
        self.position.contains(gtid)
    }

    /// Returns the number of incomplete transactions, and how many of them have a BEGIN.
    pub(crate) fn open(&self) -> (usize, usize) {
        (self.open.len(), self.begun.len())
    }

    /// True if a record of the transaction was read, and its BEGIN was not.
    pub(crate) fn awaits_begin(&self, gtid: &Gtid) -> bool {
        self.open.get(gtid).is_some_and(|open| !open.begun)
    }

    /// Records a BEGIN.
    pub(crate) fn begin(&mut self, gtid: &Gtid, at: PartitionOffset) {
        if self.is_past(gtid) {
            return;
        }
        let open = self.open.entry(gtid.clone()).or_default();
        open.touch(at);
        if !open.begun {
            open.begun = true;
            self.begun.push_back(gtid.clone());
        }
    }

    /// Records an END; `counts` has the tables of interest only.
    pub(crate) fn end(&mut self, gtid: &Gtid, counts: Vec<(TableName, u64)>, at: PartitionOffset) {
        if self.is_past(gtid) {
            return;
        }
        self.begin(gtid, at);
        if let Some(open) = self.open.get_mut(gtid) {
            open.counts = Some(counts);
        }
    }

    /// Records an event of a table of interest.
    pub(crate) fn event(&mut self, gtid: &Gtid, table: &TableName, order: BlockOrder, at: PartitionOffset) {
        if !self.open.contains_key(gtid) {
            self.await_begin(gtid);
        }
        let open = self.open.entry(gtid.clone()).or_default();
        open.touch(at);
        match open.seen.iter_mut().find(|(name, _)| name == table) {
            Some((_, ranges)) => ranges.insert(order.in_table),
            None => {
                let mut ranges = Ranges::default();
                ranges.insert(order.in_table);
                open.seen.push((table.clone(), ranges));
            }
        }
    }

    /// Records that the transaction wrote a marker row with the set `executed`.
    pub(crate) fn marker(&mut self, gtid: &Gtid, executed: Position) {
        if let Some(open) = self.open.get_mut(gtid) {
            open.marker = Some(executed);
        }
    }

    /// Records a statement that no transaction counts (DDL, TRUNCATE). It is a complete transaction unless some of its
    /// events are counted.
    pub(crate) fn alone(&mut self, gtid: &Gtid) {
        if !self.open.contains_key(gtid) {
            self.position.insert(gtid);
        }
    }

    /// Rows may arrive before their BEGIN, because the two are on different topics.
    fn await_begin(&mut self, gtid: &Gtid) {
        // Bounds the queue: drops transactions that have begun in the meantime.
        if self.awaiting.len() > 2 * self.open.len() + 64 {
            self.awaiting.retain(|gtid| self.open.get(gtid).is_some_and(|open| !open.begun));
        }
        self.awaiting.push_back(gtid.clone());
    }

    /// Defers complete markers, or lets them take effect. The transactions that they add have no events, or events that
    /// no transaction counts.
    pub(crate) fn hold_markers(&mut self, holds: bool) {
        self.holds_markers = holds;
    }

    /// Moves the position over complete transactions, in the order of the transaction topic.
    pub(crate) fn advance(&mut self) {
        while let Some(gtid) = self.begun.front() {
            if !self.open.get(gtid).is_some_and(Open::is_complete) {
                break;
            }
            let Some(gtid) = self.begun.pop_front() else { break };
            self.position.insert(&gtid);
            if let Some(executed) = self.open.remove(&gtid).and_then(|open| open.marker) {
                self.executed.union(&executed);
            }
        }
        if !self.holds_markers && !self.executed.is_empty() {
            let executed = std::mem::take(&mut self.executed);
            self.ranges_given = ranges_of(&executed);
            self.position.union(&executed);
            self.forget_past();
        }
        self.position.limit_ranges(self.ranges_given.saturating_add(self.ranges_max));
    }

    /// Drops transactions without a BEGIN that a marker covers.
    fn forget_past(&mut self) {
        let position = &self.position;
        self.open.retain(|gtid, open| open.begun || !position.contains(gtid));
    }

    /// Lowers the offsets to resume from to the first record of an incomplete transaction on each partition.
    ///
    /// A session that resumes there reads all records of incomplete transactions again, so nothing
    /// of the tracker has to be stored.
    pub(crate) fn rewind(&self, next: &mut [i64]) {
        for open in self.open.values() {
            for &(partition, offset) in &open.firsts {
                if let Some(next) = next.get_mut(partition) {
                    *next = (*next).min(offset);
                }
            }
        }
    }

    /// Returns the oldest transaction that may have lost records.
    pub(crate) fn stuck(&mut self) -> Option<Stuck> {
        if let Some(gtid) = self.begun.front()
            && let Some(open) = self.open.get(gtid)
        {
            let missing = match open.missing_events() {
                Some(events) => Some(events),
                // A transaction without END has lost it only if a later one has begun.
                None => (open.counts.is_none() && self.begun.len() > 1).then_some(Missing::End),
            };
            if let Some(missing) = missing {
                return Some(Stuck { gtid: gtid.clone(), missing });
            }
        }
        while let Some(gtid) = self.awaiting.front() {
            if self.awaits_begin(gtid) {
                return Some(Stuck { gtid: gtid.clone(), missing: Missing::Begin });
            }
            self.awaiting.pop_front();
        }
        None
    }
}

/// The most ranges of an origin.
fn ranges_of(position: &Position) -> usize {
    position.ranges().map(|(_, ranges)| ranges.len()).max().unwrap_or_default()
}

impl Open {
    /// Records the offset of a record.
    fn touch(&mut self, at: PartitionOffset) {
        match self.firsts.iter_mut().find(|(partition, _)| *partition == at.0) {
            Some(first) => first.1 = first.1.min(at.1),
            None => self.firsts.push(at),
        }
    }

    /// True if its END and all events that it counts were read.
    fn is_complete(&self) -> bool {
        self.counts.is_some() && self.missing_events().is_none()
    }

    /// Returns the first table with missing events; `None` if there is none, or before the END.
    fn missing_events(&self) -> Option<Missing> {
        let seen = |table: &TableName| {
            self.seen.iter().find(|(name, _)| name == table).map_or(0, |(_, ranges)| ranges.count())
        };
        let is_short = |&&(ref table, count): &&(TableName, u64)| seen(table) < count;
        let (table, count) = self.counts.as_ref()?.iter().find(is_short)?;
        Some(Missing::Events { table: table.clone(), read: seen(table), count: *count })
    }
}

/// A set of numbers, stored as ranges, so that a large transaction needs no more memory than a small one.
#[derive(Debug, Default)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds a number; one that is in the set already changes nothing.
    fn insert(&mut self, number: u64) {
        if let Some(last) = self.0.last_mut()
            && number == last.1.saturating_add(1)
        {
            last.1 = number;
            return;
        }
        let at = self.0.partition_point(|range| range.1.saturating_add(1) < number);
        match self.0.get_mut(at) {
            Some(range) if range.0 <= number && number <= range.1 => return,
            Some(range) if range.1.saturating_add(1) == number => range.1 = number,
            Some(range) if number.saturating_add(1) == range.0 => range.0 = number,
            _ => self.0.insert(at, (number, number)),
        }
        if let (Some(&low), Some(&high)) = (self.0.get(at), self.0.get(at + 1))
            && low.1.saturating_add(1) == high.0
        {
            self.0.splice(at..at + 2, [(low.0, high.1)]);
        }
    }

    /// Number of numbers in the set.
    fn count(&self) -> u64 {
        self.0.iter().map(|(low, high)| high - low + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn gtid(number: u64) -> Gtid {
        Gtid { origin: SERVER.into(), number }
    }

    fn upto(end: u64) -> Position {
        format!("{SERVER}:1-{end}").parse().expect("a position")
    }

    fn users() -> TableName {
        TableName::from("app.users")
    }

    fn order(number: u64) -> BlockOrder {
        BlockOrder { in_transaction: number, in_table: number }
    }

    fn tracker() -> Tracker {
        Tracker::new(upto(10), 64)
    }

    #[test]
    fn a_transaction_is_complete_with_its_end_and_its_last_event() {
        let mut tracker = tracker();
        tracker.event(&gtid(11), &users(), order(1), (0, 5));
        tracker.begin(&gtid(11), (9, 1));
        tracker.end(&gtid(11), vec![(users(), 2)], (9, 2));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(10), "one of two events is missing");
        tracker.event(&gtid(11), &users(), order(2), (1, 7));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(11));
    }

    #[test]
    fn a_repeated_event_is_counted_once() {
        let mut tracker = tracker();
        tracker.end(&gtid(11), vec![(users(), 2)], (9, 2));
        tracker.event(&gtid(11), &users(), order(1), (0, 5));
        tracker.event(&gtid(11), &users(), order(1), (0, 6));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(10), "the second is the first again");
        let missing = Missing::Events { table: users(), read: 1, count: 2 };
        assert_eq!(tracker.stuck(), Some(Stuck { gtid: gtid(11), missing }));
    }

    #[test]
    fn a_transaction_waits_for_those_before_it() {
        let mut tracker = tracker();
        tracker.begin(&gtid(11), (9, 1));
        tracker.end(&gtid(12), vec![(users(), 1)], (9, 2));
        tracker.event(&gtid(12), &users(), order(1), (0, 5));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(10));
        tracker.end(&gtid(11), Vec::new(), (9, 3));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(12));
    }

    #[test]
    fn a_marker_takes_effect_when_all_before_it_is_complete() {
        let mut tracker = tracker();
        tracker.begin(&gtid(12), (9, 1));
        tracker.end(&gtid(20), vec![(users(), 1)], (9, 2));
        tracker.event(&gtid(20), &users(), order(1), (0, 5));
        tracker.marker(&gtid(20), upto(19));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(10), "12 is incomplete and precedes the marker");
        tracker.end(&gtid(12), Vec::new(), (9, 3));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(20));
    }

    #[test]
    fn a_restart_resumes_at_the_oldest_incomplete_transaction() {
        let mut tracker = tracker();
        tracker.begin(&gtid(11), (2, 40));
        tracker.event(&gtid(11), &users(), order(1), (0, 5));
        tracker.event(&gtid(12), &users(), order(1), (0, 6));
        tracker.event(&gtid(12), &users(), order(2), (1, 3));
        let mut next = [9, 9, 50];
        tracker.rewind(&mut next);
        assert_eq!(next, [5, 3, 40]);
        tracker.end(&gtid(11), vec![(users(), 1)], (2, 41));
        tracker.advance();
        let mut next = [9, 9, 50];
        tracker.rewind(&mut next);
        assert_eq!(next, [6, 3, 50]);
    }

    #[test]
    fn a_complete_transaction_is_not_tracked_again() {
        let mut tracker = tracker();
        tracker.begin(&gtid(7), (9, 1));
        tracker.end(&gtid(7), vec![(users(), 3)], (9, 2));
        assert!(tracker.is_past(&gtid(7)));
        assert_eq!(tracker.open(), (0, 0));
    }

    #[test]
    fn a_statement_is_a_transaction_unless_counted_events_belong_to_it() {
        let mut tracker = tracker();
        tracker.alone(&gtid(11));
        assert_eq!(tracker.position(), &upto(11));
        tracker.begin(&gtid(12), (9, 1));
        tracker.alone(&gtid(12));
        assert_eq!(tracker.position(), &upto(11), "its rows are not read yet");
        tracker.end(&gtid(12), vec![(users(), 1)], (9, 2));
        tracker.event(&gtid(12), &users(), order(1), (0, 5));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(12));
    }

    #[test]
    fn the_oldest_transaction_without_a_begin_is_stuck() {
        let mut tracker = tracker();
        for number in 11..2_000 {
            tracker.event(&gtid(number), &users(), order(1), (0, 5));
            if number != 12 {
                tracker.end(&gtid(number), vec![(users(), 1)], (9, 2));
            }
            tracker.advance();
        }
        assert_eq!(tracker.stuck(), Some(Stuck { gtid: gtid(12), missing: Missing::Begin }));
        assert!(tracker.awaiting.len() < 100, "{}", tracker.awaiting.len());
        tracker.begin(&gtid(12), (9, 3));
        assert_eq!(tracker.stuck(), None, "its END may still come");
    }

    #[test]
    fn the_position_stays_bounded() {
        let mut tracker = Tracker::new(Position::new(), 4);
        for number in 1..100 {
            tracker.end(&gtid(number * 2), Vec::new(), (9, 1));
        }
        tracker.advance();
        let ranges: usize = tracker.position().ranges().map(|(_, ranges)| ranges.len()).sum();
        assert_eq!(ranges, 4);
        assert!(tracker.is_past(&gtid(198)), "the newest are kept");
    }

    #[test]
    fn ranges_count_distinct_numbers_in_any_order() {
        let mut ranges = Ranges::default();
        for number in [5, 1, 2, 5, 4, 3, 9, 1] {
            ranges.insert(number);
        }
        assert_eq!(ranges.count(), 6);
        assert_eq!(ranges.0, [(1, 5), (9, 9)]);
    }
}
