//! Tracks which transactions are complete: events arrive on several partitions, and the transaction topic has their
//! number for each table ([transaction metadata]).
//!
//! A transaction is complete when its END and every counted event of every table of interest were read, and every transaction
//! that began before it on the transaction topic is complete. Repeated events count once: a connector emits some again after a
//! restart. Before version 3.6.1 it may give other events the numbers of those: a transaction whose counts contradict each
//! other, or may do so, is never complete. A *marker* is a row with the set of transactions that were executed when it was
//! written. All of them precede the marker in the log, so they are complete when the marker's own transaction is. That covers
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

use crate::event::{BlockOrder, ConnectorVersion};

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
    /// Whether the counts of every connector seen so far hold across its restarts; `None` before the first version.
    keeps_counts: Option<bool>,
}

/// An incomplete transaction.
///
/// Its size does not depend on the number of rows: consecutive numbers of events are one range.
#[derive(Debug, Default)]
struct Open {
    begun: bool,
    /// The offset of its BEGIN.
    begin: Option<i64>,
    /// It has several BEGINs: the connector was restarted within it, or repeats it.
    is_repeated: bool,
    /// Its ENDs count different numbers of events.
    is_contradicted: bool,
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
    /// Counts that hold: the connector has forgotten, or may have, what it had counted before a restart.
    Counts,
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
            Missing::Counts => write!(
                f,
                "the counts of transaction {gtid} may leave out events: the connector was restarted within it, and counts \
                 from 1 again before Debezium {}: upgrade the connector, or let its records tell their version (flattened \
                 rows: add source.version to add.fields; a marker table tells it on an idle server)",
                ConnectorVersion::KEEPS_COUNTS
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
            keeps_counts: None,
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

    /// Records the version of the connector that wrote a record. Returns true if it is the first one whose counts do not
    /// hold across its restarts.
    pub(crate) fn note_connector(&mut self, version: ConnectorVersion) -> bool {
        let before = self.keeps_counts;
        self.keeps_counts = Some(before != Some(false) && version.keeps_counts());
        self.keeps_counts == Some(false) && before != Some(false)
    }

    /// True if an event of a complete transaction is known to be one that was counted before.
    pub(crate) fn keeps_counts(&self) -> bool {
        self.keeps_counts == Some(true)
    }

    /// Records a BEGIN.
    pub(crate) fn begin(&mut self, gtid: &Gtid, at: PartitionOffset) {
        if self.is_past(gtid) {
            return;
        }
        let open = self.open_begun(gtid, at);
        // After a seek the same record is read again.
        open.is_repeated |= open.begin.is_some_and(|begin| begin != at.1);
        open.begin = Some(at.1);
    }

    /// Returns a transaction that has begun with this record, or an earlier one.
    fn open_begun(&mut self, gtid: &Gtid, at: PartitionOffset) -> &mut Open {
        let open = self.open.entry(gtid.clone()).or_default();
        open.touch(at);
        if !open.begun {
            open.begun = true;
            self.begun.push_back(gtid.clone());
        }
        open
    }

    /// Records an END; `counts` has the tables of interest only.
    pub(crate) fn end(&mut self, gtid: &Gtid, mut counts: Vec<(TableName, u64)>, at: PartitionOffset) {
        if self.is_past(gtid) {
            return;
        }
        // A connector that was restarted may list the tables in another order.
        counts.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        let open = self.open_begun(gtid, at);
        open.is_contradicted |= open.counts.as_ref().is_some_and(|known| *known != counts);
        open.counts = Some(counts);
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
            if !self.open.get(gtid).is_some_and(|open| open.is_complete(self.keeps_counts())) {
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
                None if open.counts.is_none() => (self.begun.len() > 1).then_some(Missing::End),
                None => (!open.is_complete(self.keeps_counts())).then_some(Missing::Counts),
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

    /// True if its END and all events that it counts were read, and its counts hold. `keeps_counts` tells whether they do if
    /// the connector has repeated its BEGIN.
    fn is_complete(&self, keeps_counts: bool) -> bool {
        let holds = !self.is_contradicted && (keeps_counts || !self.is_repeated) && !self.exceeds_counts();
        holds && self.counts.is_some() && self.missing_events().is_none()
    }

    /// True if an event of a table was read whose number is above the table's count in the END.
    fn exceeds_counts(&self) -> bool {
        let Some(counts) = &self.counts else { return false };
        let count = |table: &TableName| counts.iter().find(|(name, _)| name == table).map_or(0, |(_, count)| *count);
        self.seen.iter().any(|(table, ranges)| ranges.max() > count(table))
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

    /// Returns the greatest number in the set; 0 if it is empty.
    fn max(&self) -> u64 {
        self.0.last().map_or(0, |(_, high)| *high)
    }

    /// Number of numbers in the set.
    fn count(&self) -> u64 {
        self.0.iter().map(|(low, high)| high - low + 1).sum()
    }
}

#[cfg(test)]
mod tests;
