//! Which transactions are complete: events arrive on several partitions, and the transaction topic says how many there
//! are of each table.
//!
//! A transaction counts when its END and every counted event of every table that is read have been seen, distinct ones
//! only (a connector that restarts repeats events), and every transaction that began before it on the transaction topic
//! counts too. A *marker* is a row that holds the set of transactions that were executed when it was written: all of
//! them precede it in the log, so when the marker's own transaction counts, they do. That covers what leaves no event:
//! other tables, DDL, an idle server.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use cachefront_core::event::TableName;
use cachefront_core::{Gtid, Position};

use crate::event::Place;

/// A place on Kafka: which of the source's partitions, and the offset there.
pub(crate) type Spot = (usize, i64);

/// Follows transactions from their first event to the moment when they count.
#[derive(Debug)]
pub(crate) struct Tracker {
    position: Position,
    /// Transactions in the order in which they began on the transaction topic.
    begun: VecDeque<Gtid>,
    /// Transactions of which an event came before the BEGIN, in this order. Some have begun since, or are open no more.
    awaiting: VecDeque<Gtid>,
    open: HashMap<Gtid, Open>,
    /// What complete markers hold that does not count yet.
    executed: Position,
    /// True while records that no transaction counts may lie before what was read.
    holds_markers: bool,
    /// Ranges kept in the position for each origin: the bound on its size.
    ranges_max: usize,
}

/// A transaction that does not count yet.
#[derive(Debug, Default)]
struct Open {
    begun: bool,
    /// How many events each table of interest has; known from the END on.
    counts: Option<Vec<(TableName, u64)>>,
    seen: Vec<(TableName, Ranges)>,
    /// The first place on each partition where something of it lies.
    firsts: Vec<Spot>,
    marker: Option<Position>,
}

/// A transaction that may have lost records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) gtid: Gtid,
    pub(crate) lacks: Lacks,
}

/// The records that a transaction lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lacks {
    /// Rows came, and its BEGIN did not.
    Begin,
    /// Later ones have begun, and its END did not come.
    End,
    /// Fewer events of a table came than its END counts.
    Events { table: TableName, came: u64, count: u64 },
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gtid = &self.gtid;
        match &self.lacks {
            Lacks::Begin => write!(
                f,
                "rows of transaction {gtid} came, and its BEGIN did not: were records removed from the transaction topic?"
            ),
            Lacks::End => write!(f, "transaction {gtid} began, later ones came, and its end did not"),
            Lacks::Events { table, came, count } => write!(
                f,
                "transaction {gtid} has {count} events of {table}, and {came} came: were records removed from a topic, \
                 or does a transformation drop some?"
            ),
        }
    }
}

impl Tracker {
    pub(crate) fn new(position: Position, ranges_max: usize) -> Self {
        Self {
            position,
            begun: VecDeque::new(),
            awaiting: VecDeque::new(),
            open: HashMap::new(),
            executed: Position::new(),
            holds_markers: false,
            ranges_max,
        }
    }

    /// Every transaction that counts.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// True if everything of this transaction has taken effect before.
    pub(crate) fn is_past(&self, gtid: &Gtid) -> bool {
        self.position.contains(gtid)
    }

    /// Transactions that do not count yet, and how many of them have begun on the transaction topic.
    pub(crate) fn open(&self) -> (usize, usize) {
        (self.open.len(), self.begun.len())
    }

    /// True if something of this transaction has come, and its BEGIN has not.
    pub(crate) fn awaits_begin(&self, gtid: &Gtid) -> bool {
        self.open.get(gtid).is_some_and(|open| !open.begun)
    }

    pub(crate) fn begin(&mut self, gtid: &Gtid, at: Spot) {
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

    /// Notes an END: `counts` names the tables of interest only.
    pub(crate) fn end(&mut self, gtid: &Gtid, counts: Vec<(TableName, u64)>, at: Spot) {
        if self.is_past(gtid) {
            return;
        }
        self.begin(gtid, at);
        if let Some(open) = self.open.get_mut(gtid) {
            open.counts = Some(counts);
        }
    }

    /// Notes an event of a table of interest.
    pub(crate) fn event(&mut self, gtid: &Gtid, table: &TableName, place: Place, at: Spot) {
        if !self.open.contains_key(gtid) {
            self.await_begin(gtid);
        }
        let open = self.open.entry(gtid.clone()).or_default();
        open.touch(at);
        match open.seen.iter_mut().find(|(name, _)| name == table) {
            Some((_, ranges)) => ranges.insert(place.in_table),
            None => {
                let mut ranges = Ranges::default();
                ranges.insert(place.in_table);
                open.seen.push((table.clone(), ranges));
            }
        }
    }

    /// Notes that the transaction wrote a marker row that holds `executed`.
    pub(crate) fn marker(&mut self, gtid: &Gtid, executed: Position) {
        if let Some(open) = self.open.get_mut(gtid) {
            open.marker = Some(executed);
        }
    }

    /// Notes a statement that has no place in the count (DDL, TRUNCATE): it is handed over, and is a transaction of its
    /// own unless others of its events are counted.
    pub(crate) fn alone(&mut self, gtid: &Gtid) {
        if !self.open.contains_key(gtid) {
            self.position.insert(gtid);
        }
    }

    fn await_begin(&mut self, gtid: &Gtid) {
        // Those that have begun since are dropped from time to time.
        if self.awaiting.len() > 2 * self.open.len() + 64 {
            self.awaiting.retain(|gtid| self.open.get(gtid).is_some_and(|open| !open.begun));
        }
        self.awaiting.push_back(gtid.clone());
    }

    /// Lets complete markers wait, or count. What they hold left no event, or left one that no transaction counts.
    pub(crate) fn hold_markers(&mut self, holds: bool) {
        self.holds_markers = holds;
    }

    /// Lets count what can, in the order of the transaction topic.
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
            self.position.union(&std::mem::take(&mut self.executed));
            self.forget_past();
        }
        self.position.limit_ranges(self.ranges_max);
    }

    /// A marker may cover transactions whose events came and whose BEGIN did not: nothing waits for them any more.
    fn forget_past(&mut self) {
        let position = &self.position;
        self.open.retain(|gtid, open| open.begun || !position.contains(gtid));
    }

    /// The first place on each partition that must be read again after a restart.
    pub(crate) fn rewind(&self, next: &mut [i64]) {
        for open in self.open.values() {
            for &(partition, offset) in &open.firsts {
                if let Some(next) = next.get_mut(partition) {
                    *next = (*next).min(offset);
                }
            }
        }
    }

    /// The oldest transaction that is suspicious, if there is one.
    pub(crate) fn stuck(&mut self) -> Option<Stuck> {
        if let Some(gtid) = self.begun.front()
            && let Some(open) = self.open.get(gtid)
        {
            let lacks = match open.lacking() {
                Some(events) => Some(events),
                // Without its END a transaction is suspicious only if later ones have come.
                None => (open.counts.is_none() && self.begun.len() > 1).then_some(Lacks::End),
            };
            if let Some(lacks) = lacks {
                return Some(Stuck { gtid: gtid.clone(), lacks });
            }
        }
        while let Some(gtid) = self.awaiting.front() {
            if self.awaits_begin(gtid) {
                return Some(Stuck { gtid: gtid.clone(), lacks: Lacks::Begin });
            }
            self.awaiting.pop_front();
        }
        None
    }
}

impl Open {
    fn touch(&mut self, at: Spot) {
        match self.firsts.iter_mut().find(|(partition, _)| *partition == at.0) {
            Some(first) => first.1 = first.1.min(at.1),
            None => self.firsts.push(at),
        }
    }

    fn is_complete(&self) -> bool {
        self.counts.is_some() && self.lacking().is_none()
    }

    fn lacking(&self) -> Option<Lacks> {
        let seen = |table: &TableName| {
            self.seen.iter().find(|(name, _)| name == table).map_or(0, |(_, ranges)| ranges.count())
        };
        let lacks = |&&(ref table, count): &&(TableName, u64)| seen(table) < count;
        let (table, count) = self.counts.as_ref()?.iter().find(lacks)?;
        Some(Lacks::Events { table: table.clone(), came: seen(table), count: *count })
    }
}

/// Distinct numbers, kept as ranges: a large transaction costs no more than a small one.
#[derive(Debug, Default)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
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

    fn place(number: u64) -> Place {
        Place { in_transaction: number, in_table: number }
    }

    fn tracker() -> Tracker {
        Tracker::new(upto(10), 64)
    }

    #[test]
    fn a_transaction_counts_with_its_end_and_its_last_event() {
        let mut tracker = tracker();
        tracker.event(&gtid(11), &users(), place(1), (0, 5));
        tracker.begin(&gtid(11), (9, 1));
        tracker.end(&gtid(11), vec![(users(), 2)], (9, 2));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(10), "one of two events lacks");
        tracker.event(&gtid(11), &users(), place(2), (1, 7));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(11));
    }

    #[test]
    fn a_repeated_event_is_counted_once() {
        let mut tracker = tracker();
        tracker.end(&gtid(11), vec![(users(), 2)], (9, 2));
        tracker.event(&gtid(11), &users(), place(1), (0, 5));
        tracker.event(&gtid(11), &users(), place(1), (0, 6));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(10), "the second is the first again");
        let lacks = Lacks::Events { table: users(), came: 1, count: 2 };
        assert_eq!(tracker.stuck(), Some(Stuck { gtid: gtid(11), lacks }));
    }

    #[test]
    fn a_later_transaction_waits_for_those_before_it() {
        let mut tracker = tracker();
        tracker.begin(&gtid(11), (9, 1));
        tracker.end(&gtid(12), vec![(users(), 1)], (9, 2));
        tracker.event(&gtid(12), &users(), place(1), (0, 5));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(10));
        tracker.end(&gtid(11), Vec::new(), (9, 3));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(12));
    }

    #[test]
    fn a_marker_covers_what_left_no_event_only_when_all_before_it_counts() {
        let mut tracker = tracker();
        tracker.begin(&gtid(12), (9, 1));
        tracker.end(&gtid(20), vec![(users(), 1)], (9, 2));
        tracker.event(&gtid(20), &users(), place(1), (0, 5));
        tracker.marker(&gtid(20), upto(19));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(10), "12 is open, and lies before the marker");
        tracker.end(&gtid(12), Vec::new(), (9, 3));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(20));
    }

    #[test]
    fn a_restart_reads_again_from_the_oldest_open_transaction() {
        let mut tracker = tracker();
        tracker.begin(&gtid(11), (2, 40));
        tracker.event(&gtid(11), &users(), place(1), (0, 5));
        tracker.event(&gtid(12), &users(), place(1), (0, 6));
        tracker.event(&gtid(12), &users(), place(2), (1, 3));
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
    fn what_is_past_is_not_followed_again() {
        let mut tracker = tracker();
        tracker.begin(&gtid(7), (9, 1));
        tracker.end(&gtid(7), vec![(users(), 3)], (9, 2));
        assert!(tracker.is_past(&gtid(7)));
        assert_eq!(tracker.open(), (0, 0));
    }

    #[test]
    fn a_statement_counts_alone_unless_its_transaction_has_counted_events() {
        let mut tracker = tracker();
        tracker.alone(&gtid(11));
        assert_eq!(tracker.position(), &upto(11));
        tracker.begin(&gtid(12), (9, 1));
        tracker.alone(&gtid(12));
        assert_eq!(tracker.position(), &upto(11), "its rows are still to come");
        tracker.end(&gtid(12), vec![(users(), 1)], (9, 2));
        tracker.event(&gtid(12), &users(), place(1), (0, 5));
        tracker.advance();
        assert_eq!(tracker.position(), &upto(12));
    }

    #[test]
    fn the_oldest_transaction_without_a_begin_is_suspicious() {
        let mut tracker = tracker();
        for number in 11..2_000 {
            tracker.event(&gtid(number), &users(), place(1), (0, 5));
            if number != 12 {
                tracker.end(&gtid(number), vec![(users(), 1)], (9, 2));
            }
            tracker.advance();
        }
        assert_eq!(tracker.stuck(), Some(Stuck { gtid: gtid(12), lacks: Lacks::Begin }));
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
