//! From decoded records to batches: what changed, and how far everything is complete.
//!
//! Changes are handed over as they come, so that they are applied as early as can be; the position follows when the
//! [`Tracker`] says that a transaction is complete.

use cachefront_core::event::{Batch, Change, Operation, RowChange, TableName, Transaction, TransitTimes};
use cachefront_core::source::{BatchLimits, Checkpoint};
use cachefront_core::{Error, Gtid, Position, Result, Timestamp};

use crate::brokers::{Bounds, Partition};
use crate::checkpoint::{Place, Resume};
use crate::error::gap;
use crate::event::{self, Event, Origin, Snapshot};
use crate::lane::{Lane, Settled};
use crate::probe::lost;
use crate::reader::{Command, Fetched};
use crate::scope::Scope;
use crate::tracker::Tracker;

mod watch;

/// One session's reading, without any input or output of its own.
#[derive(Debug)]
pub(crate) struct Assembler {
    scope: Scope,
    pub(crate) lanes: Vec<Lane>,
    tracker: Tracker,
    /// False once it is known that completeness cannot be proven.
    claims: bool,
    /// What the session was opened with. It is handed over again as long as a lane is not settled.
    opened: Resume,
    /// The position that the session was opened with. Where the session begins a generation, that is what the database
    /// had executed when the partitions' ends were noted.
    opened_at: Position,
    /// What the records have shown of the connector's transaction metadata.
    metadata: Metadata,
    /// Rows came that no transaction counts, although the connector counts. Outlives the session.
    uncounted: bool,
    /// A snapshot is being read, and its beginning has voided everything.
    snapshot: bool,
    draft: Vec<Transaction>,
    changes: usize,
    bytes: usize,
    moved: bool,
}

/// What a session has seen of transactions.
#[derive(Clone, Copy, Debug, Default)]
struct Metadata {
    /// A BEGIN or an END.
    bounds: bool,
    /// A row with its place in a transaction.
    places: bool,
    /// A row without one.
    without_place: bool,
}

impl Assembler {
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if records after the checkpoint are gone.
    pub(crate) fn new(
        scope: Scope,
        from: &Checkpoint,
        found: &[(Partition, Bounds)],
        snapshot: bool,
    ) -> Result<(Self, Vec<Command>)> {
        let opened = Resume::decode(&from.resume)?;
        let tracker = Tracker::new(from.position.clone(), scope.ranges_max);
        let mut assembler = Self {
            claims: true,
            scope,
            lanes: Vec::new(),
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
        let bounds = |topic: &str, number| {
            found.iter().find(|(partition, _)| *partition.topic == *topic && partition.number == number)
        };
        for (topic, number, place) in assembler.opened.iter() {
            let partition = Partition { topic: topic.into(), number };
            let known = bounds(topic, number).map(|(_, bounds)| bounds);
            if let Some(why) = lost(&partition, place.next, known) {
                return Err(gap(why));
            }
        }
        let commands: Result<_> =
            found.iter().map(|(partition, bounds)| assembler.add(partition.clone(), *bounds)).collect();
        Ok((assembler, commands?))
    }

    /// Reads this partition too: from where the checkpoint says, or else, being new, from its beginning.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if its beginning is gone.
    pub(crate) fn add(&mut self, partition: Partition, bounds: Bounds) -> Result<Command> {
        let place = self.opened.get(&partition.topic, partition.number);
        if place.is_none() && bounds.low > 0 {
            return Err(gap(format!(
                "partition {partition} was never read, and its records before offset {} are gone",
                bounds.low
            )));
        }
        let tail = self.opened.is_end.then_some(self.scope.tail);
        let lane =
            Lane::new(partition.clone(), place, bounds, tail, *partition.topic == *self.scope.topics.transactions);
        if lane.tells_transactions && self.lanes.iter().any(|lane| lane.tells_transactions) {
            self.give_up_claims(
                "the transaction topic has several partitions, and their order is not known: make it with one",
            );
        }
        let start = lane.start();
        self.lanes.push(lane);
        Ok(Command::Add(partition, start))
    }

    /// Stops claiming that transactions are complete; changes are handed over as before.
    pub(crate) fn give_up_claims(&mut self, why: &str) {
        if self.claims {
            self.claims = false;
            self.tracker = Tracker::new(self.tracker.position().clone(), self.scope.ranges_max);
            tracing::warn!(
                "how stale the cache is cannot be told any more, and reads that ask for a bound or bring a token go to the database: {why}"
            );
        }
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap) if it stands for changes that cannot be named.
    pub(crate) fn take(&mut self, fetched: Fetched) -> Result<Option<Command>> {
        let Fetched { at, time, bytes, event } = fetched;
        let Some(lane) = self.lanes.get_mut(at.0) else { return Ok(None) };
        if !lane.pass(at.1, time)? {
            return Ok(None);
        }
        self.bytes += bytes;
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.doubt(error, at).map(|()| None),
        };
        self.notice(&event, at)?;
        let Some(lane) = self.lanes.get_mut(at.0) else { return Ok(None) };
        let gtid = gtid_of(&event);
        if let Some(gtid) = gtid
            && let Some(error) = lane.doubt.take()
            && !self.opened_at.contains(gtid)
            && !(self.claims && is_counted(&event))
        {
            return Err(error);
        }
        let command = match (&lane.settled, gtid) {
            (Settled::Yes, _) | (_, None) => None,
            (Settled::Tail { .. }, Some(gtid)) => lane.settle(self.opened_at.contains(gtid)),
        };
        if let Some(gtid) = gtid
            && lane.last.as_ref() != Some(gtid)
        {
            lane.last = Some(gtid.clone());
        }
        match event {
            Event::Row { row, origin } => self.row(row, origin, at, time).or_else(|error| self.doubt(error, at))?,
            Event::Tables { tables, reason, origin } => {
                self.tables(tables, reason, &origin, at, time).or_else(|error| self.doubt(error, at))?;
            }
            Event::Read { table, snapshot, .. } => self.read(&table, snapshot, at)?,
            Event::Begin { gtid: Some(gtid) } if self.claims => self.tracker.begin(&gtid, at),
            Event::End { gtid: Some(gtid), tables, .. } if self.claims => {
                let counts = tables.into_iter().filter(|(table, _)| self.scope.tables.contains(table)).collect();
                self.tracker.end(&gtid, counts, at);
            }
            Event::Begin { .. } | Event::End { .. } | Event::Nothing { .. } => {}
        }
        Ok(command)
    }

    /// A record that cannot be understood is a gap. But a new generation begins with a few records before its own
    /// beginning, which it covers unless their commits were not visible then: that is a gap again if it shows, by a
    /// later record or by the events that the record's transaction lacks.
    fn doubt(&mut self, error: Error, at: (usize, i64)) -> Result<()> {
        match self.lanes.get_mut(at.0) {
            Some(lane) if at.1 < lane.end => {
                tracing::debug!(error = %error.chain(), "the generation began after this record");
                if !lane.tells_transactions {
                    lane.doubt = Some(error);
                }
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn row(&mut self, row: RowChange, origin: Origin, at: (usize, i64), time: i64) -> Result<()> {
        // Rows from before the generation tell nothing of a snapshot that goes on.
        self.snapshot &= self.is_before(at);
        let gtid = known(origin.gtid.as_ref(), "a row change")?.clone();
        if !self.counts(&gtid, &row.table, origin.place, at) {
            return Ok(());
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

    /// Tables that changed as a whole, by a statement or by a row of which the record says too little.
    fn tables(
        &mut self,
        tables: Vec<TableName>,
        reason: String,
        origin: &Origin,
        at: (usize, i64),
        time: i64,
    ) -> Result<()> {
        let gtid = known(origin.gtid.as_ref(), &reason)?.clone();
        match tables.first() {
            Some(table) if origin.place.is_some() || self.is_row(at) => {
                if !self.counts(&gtid, table, origin.place, at) {
                    return Ok(());
                }
            }
            _ if self.is_covered(&gtid, at) => return Ok(()),
            _ => self.tracker.alone(&gtid),
        }
        self.push(gtid, origin, time, Change::Tables { tables, reason });
        Ok(())
    }

    /// Counts an event of a transaction. False if it has taken effect, and must not be handed over again.
    fn counts(&mut self, gtid: &Gtid, table: &TableName, place: Option<event::Place>, at: (usize, i64)) -> bool {
        let Some(place) = place else {
            self.give_up_claims(
                "the connector does not count the events of transactions: set provide.transaction.metadata=true",
            );
            return !self.is_covered(gtid, at);
        };
        // All counted events of what the position holds were handed over: a connector that restarts repeats many.
        if self.tracker.is_past(gtid) {
            return false;
        }
        if self.claims {
            self.tracker.event(gtid, table, place, at);
        }
        true
    }

    /// True if what a record without a count says had taken effect when the generation began. The position is no
    /// measure of that: a marker covers such records as soon as the marker itself is complete, and their own partition
    /// may be read later.
    fn is_covered(&self, gtid: &Gtid, at: (usize, i64)) -> bool {
        self.is_before(at) && self.opened_at.contains(gtid)
    }

    /// True if a change of a whole table is a row of which the record says too little.
    fn is_row(&self, at: (usize, i64)) -> bool {
        let tells_definitions = |lane: &Lane| *lane.partition.topic == *self.scope.topics.definitions;
        self.scope.is_flattened && !self.lanes.get(at.0).is_some_and(tells_definitions)
    }

    /// Notes what a record shows of the connector's transaction metadata.
    ///
    /// # Errors
    /// [`Gap`](cachefront_core::ErrorKind::Gap), the first time, if a row is of no transaction although the connector
    /// tells of transactions. It is of an XA transaction: such rows come before the commit, and the commit leaves no
    /// record.
    fn notice(&mut self, event: &Event, at: (usize, i64)) -> Result<()> {
        let row = match event {
            Event::Begin { gtid: Some(_) } | Event::End { gtid: Some(_), .. } => {
                self.metadata.bounds = true;
                None
            }
            Event::Row { origin, .. } => Some(origin),
            Event::Tables { origin, .. } if self.is_row(at) => Some(origin),
            _ => None,
        };
        match row {
            Some(Origin { place: Some(_), .. }) => self.metadata.places = true,
            Some(Origin { gtid: Some(_), .. }) => self.metadata.without_place = true,
            _ => {}
        }
        let seen = self.metadata;
        // Flattened rows may lack their place because the transformation leaves it out.
        let is_counting = seen.places || (seen.bounds && !self.scope.is_flattened);
        if self.uncounted || !seen.without_place || !is_counting {
            return Ok(());
        }
        self.uncounted = true;
        Err(gap(UNCOUNTED))
    }

    /// A snapshot is taken where the connector could not go on in the log, so what was before it may be lost.
    fn read(&mut self, table: &TableName, snapshot: Snapshot, at: (usize, i64)) -> Result<()> {
        let begins = match snapshot {
            Snapshot::Incremental => false,
            Snapshot::First => true,
            Snapshot::Other => !self.snapshot,
        };
        // A generation that began after this row was written knows all that came before the snapshot.
        if begins && !self.is_before(at) {
            self.snapshot = true;
            return Err(gap(format!(
                "the connector took a new snapshot (it reads {table}): changes before it may have been lost"
            )));
        }
        Ok(())
    }

    /// True if the generation began after this record was written.
    fn is_before(&self, at: (usize, i64)) -> bool {
        self.lanes.get(at.0).is_some_and(|lane| at.1 < lane.end)
    }

    /// `time` is the record's own, in ms; negative if it has none.
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

    pub(crate) fn is_full(&self, limits: &BatchLimits) -> bool {
        self.changes >= limits.changes_max || self.bytes >= limits.bytes_max
    }

    /// True if there is something to hand over that should not wait.
    pub(crate) fn has_news(&mut self) -> bool {
        let before = self.tracker.position().clone();
        self.tracker.advance();
        self.moved |= before != *self.tracker.position();
        self.moved || self.changes > 0
    }

    /// Hands over what was taken in.
    pub(crate) fn batch(&mut self) -> Batch {
        self.tracker.advance();
        (self.changes, self.bytes, self.moved) = (0, 0, false);
        let mut transactions = std::mem::take(&mut self.draft);
        for transaction in &mut transactions {
            transaction.complete = self.tracker.is_past(&transaction.gtid);
        }
        // A restart before the lanes are settled begins the generation again, and needs the position that it began with.
        let position = match self.is_settled() {
            true => self.tracker.position().clone(),
            false => self.opened_at.clone(),
        };
        Batch { transactions, checkpoint: Checkpoint { position, resume: self.resume().encode() } }
    }

    fn is_settled(&self) -> bool {
        self.lanes.iter().all(Lane::is_settled)
    }

    /// Where a later session goes on: before everything that is not complete.
    fn resume(&self) -> Resume {
        if !self.is_settled() {
            return self.opened.clone();
        }
        let mut next: Vec<i64> = self.lanes.iter().map(|lane| lane.next).collect();
        self.tracker.rewind(&mut next);
        let mut resume = Resume::new(false);
        resume.uncounted = self.uncounted;
        for (lane, next) in self.lanes.iter().zip(next) {
            let seen = lane.seen.filter(|_| next == lane.next);
            resume.set(&lane.partition.topic, lane.partition.number, Place { next, seen });
        }
        resume
    }

    pub(crate) fn snapshot(&self) -> bool {
        self.snapshot
    }

    /// True if rows came that no transaction counts, although the connector counts.
    pub(crate) fn uncounted(&self) -> bool {
        self.uncounted
    }
}

fn gtid_of(event: &Event) -> Option<&Gtid> {
    match event {
        Event::Row { origin, .. } | Event::Tables { origin, .. } | Event::Read { origin, .. } => origin.gtid.as_ref(),
        Event::Begin { gtid } | Event::End { gtid, .. } => gtid.as_ref(),
        Event::Nothing { .. } => None,
    }
}

/// True if the connector says how many there are of its kind.
fn is_counted(event: &Event) -> bool {
    matches!(event, Event::Row { origin: Origin { place: Some(_), .. }, .. })
}

fn known<'a>(gtid: Option<&'a Gtid>, what: &str) -> Result<&'a Gtid> {
    gtid.ok_or_else(|| {
        gap(format!(
            "{what} came without a GTID, so nothing says when readers can see it: set gtid_mode=ON on the server \
             (flattened rows: add source.gtid to the transformation's add.fields)"
        ))
    })
}

/// Why nothing is claimed after a row without a place.
const UNCOUNTED: &str = "rows came that belong to no transaction of the transaction topic. They are of XA transactions: \
     the connector writes such rows when they are prepared, and nothing when they are committed, so what is cached of \
     them may stay stale. Read the binary log (BinlogSource) instead, or keep XA away from the mapped tables. If it is \
     not XA, set provide.transaction.metadata=true again. Then restart with an empty store";

/// The set that a marker holds.
fn executed(row: &RowChange, column: &str) -> Option<Position> {
    if row.operation == Operation::Delete {
        return None;
    }
    let read = row.after.as_ref()?.get::<String>(column);
    match read.map(|text| text.parse::<Position>()) {
        Ok(Ok(position)) => Some(position),
        Ok(Err(error)) | Err(error) => {
            tracing::warn!(error = %error.chain(), table = %row.table, "a marker cannot be read, and proves nothing");
            None
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
