//! Assembles batches from decoded records: the changes, and the position up to which everything is complete.
//!
//! Changes are returned in the order in which they are read, so that they are applied as early as possible. The position
//! follows when the [`Tracker`] knows that a transaction is complete.
//!
//! # From records to a batch
//!
//! | record | effect |
//! |---|---|
//! | row with an order in its transaction | a change, and counted for its table |
//! | row without one | a change; the source claims no positions from then on |
//! | BEGIN, END | the tracker; END has the number of events for each table |
//! | definition, TRUNCATE | a change of whole tables |
//! | marker row | no change; its set joins the position when its transaction is complete |
//! | row or schema of a new snapshot | a gap |
//! | anything else | its offset counts as read |

use cachefront_core::event::{Batch, Change, Operation, RowChange, TableName, Transaction, TransitTimes};
use cachefront_core::source::{BatchLimits, Checkpoint};
use cachefront_core::{Error, Gtid, Position, Result, Timestamp};

use crate::brokers::{Bounds, TopicPartition};
use crate::checkpoint::{Resume, ResumePoint};
use crate::error::gap;
use crate::event::{BlockOrder, Event, Origin};
use crate::partition::{PartitionState, Settled};
use crate::probe::lost;
use crate::reader::{Command, Fetched};
use crate::scope::Scope;
use crate::tracker::{PartitionOffset, Tracker};

mod metadata;
mod seen;
mod snapshot;
mod watch;

pub(crate) use seen::InSnapshot;
use seen::{HIDDEN_TRUNCATES, Metadata, UNCOUNTED};

/// The state of one session, without any input or output.
#[derive(Debug)]
pub(crate) struct Assembler {
    scope: Scope,
    pub(crate) partitions: Vec<PartitionState>,
    tracker: Tracker,
    /// False once it is known that completeness cannot be proven.
    claims: bool,
    /// The resume data that the session was opened with. Checkpoints repeat them until every partition is settled.
    opened: Resume,
    /// The position that the session was opened with. If the session begins a generation, that is what the database had
    /// executed when the ends of the partitions were read.
    opened_at: Position,
    /// What the records so far show of the connector's transaction metadata.
    metadata: Metadata,
    /// Rows were read that no transaction counts, although the connector counts events. Outlives the session.
    uncounted: bool,
    /// The snapshot that is being read, and has flushed everything.
    snapshot: InSnapshot,
    draft: Vec<Transaction>,
    changes: usize,
    bytes: usize,
    moved: bool,
}

impl Assembler {
    /// Opens a session at a checkpoint. `found` are the partitions that exist; `snapshot` is the one that the previous session
    /// ended within.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if records after the checkpoint are gone.
    pub(crate) fn new(
        scope: Scope,
        from: &Checkpoint,
        found: &[(TopicPartition, Bounds)],
        snapshot: InSnapshot,
    ) -> Result<(Self, Vec<Command>)> {
        let opened = Resume::decode(&from.resume)?;
        let tracker = Tracker::new(from.position.clone(), scope.ranges_max);
        let mut assembler = Self {
            claims: true,
            scope,
            partitions: Vec::new(),
            tracker,
            snapshot,
            draft: Vec::new(),
            changes: 0,
            bytes: 0,
            moved: false,
            opened_at: from.position.clone(),
            metadata: Metadata::default(),
            uncounted: opened.uncounted,
            opened,
        };
        if assembler.uncounted {
            assembler.give_up_claims(UNCOUNTED);
        }
        if assembler.scope.hides_truncates {
            assembler.give_up_claims(HIDDEN_TRUNCATES);
        }
        let bounds = |topic: &str, number| {
            found.iter().find(|(partition, _)| *partition.topic == *topic && partition.number == number)
        };
        for (topic, number, point) in assembler.opened.iter() {
            // A topic that a former release has read, of a table that is mapped no more.
            if !assembler.scope.reads.is_default() && !assembler.scope.reads.has(topic) {
                continue;
            }
            let partition = TopicPartition { topic: topic.into(), number };
            let known = bounds(topic, number).map(|(_, bounds)| bounds);
            // The last record that was read may be behind the one to resume at.
            let read = point.seen.map_or(point.next, |(offset, _)| point.next.max(offset + 1));
            if let Some(why) = lost(&partition, point.next, known).or_else(|| lost(&partition, read, known)) {
                return Err(gap(why));
            }
        }
        let commands: Result<_> =
            found.iter().map(|(partition, bounds)| assembler.add(partition.clone(), *bounds)).collect();
        Ok((assembler, commands?))
    }

    /// Adds a partition, to be read from the offset in the checkpoint, or from its beginning if it is new.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if its beginning is gone.
    pub(crate) fn add(&mut self, partition: TopicPartition, bounds: Bounds) -> Result<Command> {
        let point = self.opened.get(&partition.topic, partition.number);
        if point.is_none() && bounds.low > 0 {
            return Err(gap(format!(
                "partition {partition} was never read, and its records before offset {} are gone",
                bounds.low
            )));
        }
        let tail = self.opened.is_end.then_some(self.scope.tail);
        let has_transactions = *partition.topic == *self.scope.topics.transactions;
        let state = PartitionState::new(partition.clone(), point, bounds, tail, has_transactions);
        if has_transactions && self.partitions.iter().any(|other| other.has_transactions) {
            self.give_up_claims(
                "the transaction topic has several partitions, so the order of its records is unknown: create it with one",
            );
        }
        let start = state.start();
        self.partitions.push(state);
        Ok(Command::Add(partition, start))
    }

    /// Stops claiming that transactions are complete. Changes are returned as before.
    ///
    /// Changes are still applied, so plain reads stay as fresh as before. Reads with a token or a
    /// bound have no proof and go to the database.
    pub(crate) fn give_up_claims(&mut self, why: &str) {
        if self.claims {
            self.claims = false;
            self.tracker = Tracker::new(self.tracker.position().clone(), self.scope.ranges_max);
            tracing::warn!(
                "the staleness of the cache is unknown from now on, so reads with a bound or a token go to the database: {why}"
            );
        }
    }

    /// Adds one record. Returns a seek if the partition must be read from further back.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if the changes that the record stands for are unknown.
    pub(crate) fn take(&mut self, fetched: Fetched) -> Result<Option<Command>> {
        let Fetched { at, time, bytes, event } = fetched;
        let Some(partition) = self.partitions.get_mut(at.0) else { return Ok(None) };
        if !partition.pass(at.1, time)? {
            return Ok(None);
        }
        self.bytes += bytes;
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.doubt(error, at).map(|()| None),
        };
        self.note_metadata(&event, at)?;
        self.note_connector(&event, at);
        let Some(partition) = self.partitions.get_mut(at.0) else { return Ok(None) };
        let gtid = gtid_of(&event);
        if let Some(gtid) = gtid
            && let Some(error) = partition.doubt.take()
            && !self.opened_at.contains(gtid)
            && !(self.claims && is_counted(&event))
        {
            return Err(error);
        }
        let command = match (&partition.settled, gtid) {
            (Settled::Yes, _) | (_, None) => None,
            (Settled::Tail { .. }, Some(gtid)) => partition.settle(self.opened_at.contains(gtid)),
        };
        if let Some(gtid) = gtid
            && partition.last.as_ref() != Some(gtid)
        {
            partition.last = Some(gtid.clone());
        }
        match event {
            Event::Row { row, origin } => self.row(row, origin, at, time).or_else(|error| self.doubt(error, at))?,
            Event::Tables { tables, reason, origin } => {
                self.tables(tables, reason, &origin, at, time).or_else(|error| self.doubt(error, at))?;
            }
            Event::Read { table, snapshot, origin, .. } => self.snapshot_row(&table, snapshot, origin, at)?,
            Event::Begin { gtid } => {
                self.note_streaming(at);
                if let Some(gtid) = gtid.filter(|_| self.claims) {
                    self.tracker.begin(&gtid, at);
                }
            }
            Event::End { gtid: Some(gtid), tables, .. } if self.claims => {
                let counts = tables.into_iter().filter(|(table, _)| self.scope.tables.contains(table)).collect();
                self.tracker.end(&gtid, counts, at);
            }
            Event::End { .. } | Event::Ignored { .. } => {}
        }
        Ok(command)
    }

    /// Handles a record that cannot be decoded, which is a gap. A new generation, however, starts to read a few records
    /// before its beginning, and covers them unless their commits were not visible at that time. Whether it does is shown
    /// by a later record, or by missing events of the record's transaction; until then the error is only kept.
    fn doubt(&mut self, error: Error, at: PartitionOffset) -> Result<()> {
        match self.partitions.get_mut(at.0) {
            Some(partition) if at.1 < partition.end => {
                tracing::debug!(error = %error.chain(), "a record before the generation cannot be decoded");
                if !partition.has_transactions {
                    partition.doubt = Some(error);
                }
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// A row change; that of the marker is not handed on.
    fn row(&mut self, mut row: RowChange, origin: Origin, at: PartitionOffset, time: i64) -> Result<()> {
        self.note_streaming(at);
        let gtid = known(origin.gtid.as_ref(), "a row change")?.clone();
        if !self.counts(&gtid, &row.table, origin.order, at) {
            return Ok(());
        }
        if let Some(mapped) = self.scope.spellings.mapped(&row.table) {
            row.table = mapped.clone();
        }
        if let Some((table, column)) = &self.scope.marker
            && *table == row.table
        {
            if let Some(executed) = executed(&row, column) {
                self.tracker.marker(&gtid, executed);
            }
            return Ok(());
        }
        self.push(gtid, &origin, time, Change::Row(row));
        Ok(())
    }

    /// Adds tables that changed as a whole: by a statement, or by a flattened row that lacks its previous values.
    fn tables(
        &mut self,
        tables: Vec<TableName>,
        reason: String,
        origin: &Origin,
        at: PartitionOffset,
        time: i64,
    ) -> Result<()> {
        let gtid = known(origin.gtid.as_ref(), &reason)?.clone();
        match tables.first() {
            Some(table) if origin.order.is_some() || self.is_row(at) => {
                if !self.counts(&gtid, table, origin.order, at) {
                    return Ok(());
                }
            }
            _ if self.is_covered(&gtid, at) => return Ok(()),
            _ => self.tracker.alone(&gtid),
        }
        let tables = self.scope.spellings.all_mapped(tables);
        self.push(gtid, origin, time, Change::Tables { tables, reason });
        Ok(())
    }

    /// Counts an event of a transaction. Returns false if the event was returned before.
    fn counts(&mut self, gtid: &Gtid, table: &TableName, order: Option<BlockOrder>, at: PartitionOffset) -> bool {
        let Some(order) = order else {
            if self.is_covered(gtid, at) {
                return false;
            }
            self.give_up_claims(
                "the connector does not count the events of transactions: set provide.transaction.metadata=true",
            );
            return true;
        };
        // All counted events of complete transactions were returned; a connector repeats some after a restart. One that does
        // not keep its counts may have given their numbers to others.
        if self.tracker.is_past(gtid) {
            return !self.tracker.keeps_counts() && !self.is_covered(gtid, at);
        }
        if self.claims {
            self.tracker.event(gtid, table, order, at);
        }
        true
    }

    /// True if the generation covers an uncounted record. The position cannot decide that: it contains such records as
    /// soon as a later marker is complete, and their own partition may be read after that.
    fn is_covered(&self, gtid: &Gtid, at: PartitionOffset) -> bool {
        self.is_before(at) && self.opened_at.contains(gtid)
    }

    /// True if a change of a whole table is a flattened row that lacks its previous values.
    fn is_row(&self, at: PartitionOffset) -> bool {
        let has_definitions = |state: &PartitionState| *state.partition.topic == *self.scope.topics.definitions;
        self.scope.is_flattened && !self.partitions.get(at.0).is_some_and(has_definitions)
    }

    /// True if the generation began after this record was written.
    fn is_before(&self, at: PartitionOffset) -> bool {
        self.partitions.get(at.0).is_some_and(|state| at.1 < state.end)
    }

    /// Adds a change to the batch. `time` is the record's timestamp in milliseconds; negative if it has none.
    fn push(&mut self, gtid: Gtid, origin: &Origin, time: i64, change: Change) {
        self.changes += 1;
        match self.draft.last_mut() {
            Some(transaction) if transaction.gtid == gtid => transaction.changes.push(change),
            _ => {
                let queued_ms = u64::try_from(time).unwrap_or_default();
                let queued_at = Timestamp::from_micros(queued_ms.saturating_mul(1_000));
                self.draft.push(Transaction {
                    gtid,
                    committed_at: origin.committed_at,
                    transit: TransitTimes { captured_at: origin.captured_at, queued_at },
                    changes: vec![change],
                    complete: false,
                });
            }
        }
    }

    /// True if the batch has reached a limit.
    pub(crate) fn is_full(&self, limits: &BatchLimits) -> bool {
        self.changes >= limits.changes_max || self.bytes >= limits.bytes_max
    }

    /// True if a batch would have changes or a new position.
    pub(crate) fn has_progress(&mut self) -> bool {
        let before = self.tracker.position().clone();
        self.tracker.advance();
        self.moved |= before != *self.tracker.position();
        self.moved || self.changes > 0
    }

    /// Returns the batch of everything added since the last one.
    pub(crate) fn batch(&mut self) -> Batch {
        self.tracker.advance();
        (self.changes, self.bytes, self.moved) = (0, 0, false);
        let mut transactions = std::mem::take(&mut self.draft);
        for transaction in &mut transactions {
            transaction.complete = self.tracker.is_past(&transaction.gtid);
        }
        // A restart before every partition is settled begins the generation again, with the position of its beginning.
        let position = match self.is_settled() {
            true => self.tracker.position().clone(),
            false => self.opened_at.clone(),
        };
        Batch { transactions, checkpoint: Checkpoint { position, resume: self.resume().encode() } }
    }

    /// True if every partition is.
    fn is_settled(&self) -> bool {
        self.partitions.iter().all(PartitionState::is_settled)
    }

    /// Returns where a later session resumes: before the first record of any incomplete transaction.
    fn resume(&self) -> Resume {
        if !self.is_settled() {
            return self.opened.clone();
        }
        let mut next: Vec<i64> = self.partitions.iter().map(|state| state.next).collect();
        self.tracker.rewind(&mut next);
        let mut resume = Resume::new(false);
        resume.uncounted = self.uncounted;
        for (state, next) in self.partitions.iter().zip(next) {
            resume.set(&state.partition.topic, state.partition.number, ResumePoint { next, seen: state.seen });
        }
        resume
    }

    /// True if rows were read that no transaction counts, although the connector counts events.
    pub(crate) fn uncounted(&self) -> bool {
        self.uncounted
    }
}

/// The transaction that an event names.
fn gtid_of(event: &Event) -> Option<&Gtid> {
    match event {
        Event::Row { origin, .. } | Event::Tables { origin, .. } | Event::Read { origin, .. } => origin.gtid.as_ref(),
        Event::Begin { gtid } | Event::End { gtid, .. } | Event::Ignored { gtid, .. } => gtid.as_ref(),
    }
}

/// True if the event's transaction counts it.
fn is_counted(event: &Event) -> bool {
    matches!(event, Event::Row { origin: Origin { order: Some(_), .. }, .. })
}

/// # Errors
/// `Gap` if the record names no transaction: a position after it would claim more than is known.
fn known<'a>(gtid: Option<&'a Gtid>, what: &str) -> Result<&'a Gtid> {
    gtid.ok_or_else(|| {
        gap(format!(
            "{what} has no GTID, so it is unknown when readers can see it: set gtid_mode=ON on the server \
             (flattened rows: add source.gtid to the transformation's add.fields, and set \
             delete.tombstone.handling.mode=rewrite, because a delete without a value names no transaction)"
        ))
    })
}

/// Returns the GTID set in a marker row.
fn executed(row: &RowChange, column: &str) -> Option<Position> {
    if row.operation == Operation::Delete {
        return None;
    }
    let read = row.after.as_ref()?.get::<String>(column);
    // It is the server's own, and as long as that.
    match read.map(|text| Position::parse_stored(&text)) {
        Ok(Ok(position)) => Some(position),
        Ok(Err(error)) | Err(error) => {
            tracing::warn!(error = %error.chain(), table = %row.table, "a marker row is ignored: its GTID set cannot be parsed");
            None
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
