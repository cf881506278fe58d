//! A change source with a log that a test writes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Change, TableName, Transaction, TransitTimes};
use crate::gate::VisibilityGate;
use crate::position::{Gtid, Position};
use crate::source::{BatchLimits, ChangeSource, Checkpoint, Head, SourceProbe, TableFilter};

/// A log in memory, with faults that a test controls. A clone has the same log, and reads it from its own position over its
/// own connections, as several invalidators do.
///
/// ```
/// use cachefront::testing::ScriptedSource;
///
/// let source = ScriptedSource::new("server-a");
/// let gtid = source.commit([]);
/// assert_eq!(gtid.to_string(), "server-a:1");
/// ```
pub struct ScriptedSource {
    script: Arc<Script>,
    /// The server that this source, or its probe, was last connected to: the only one that its gate waits on.
    connected: Arc<Mutex<Option<Arc<str>>>>,
    /// The read position: the transaction, and the number of its changes that were read. Set by `open`.
    next: Option<(usize, usize)>,
    delivered: Position,
}

struct Script {
    log: Mutex<Log>,
    /// Counts changes of the log, to wake readers.
    changed: watch::Sender<u64>,
}

struct Log {
    origin: Arc<str>,
    transactions: Vec<Transaction>,
    /// Number of purged transactions at the front.
    purged: usize,
    executed: Position,
    visible: Position,
    hidden: bool,
    /// Commits are not in `executed` until they are revealed.
    deferred: bool,
    failures: Vec<Error>,
    /// Tables that `preflight` refuses.
    refused: Vec<TableName>,
    warnings: Vec<String>,
    /// The server that the log is read from, if that is not `origin`.
    read_from: Option<Box<str>>,
    closed: u64,
    acknowledged: Position,
}

impl ScriptedSource {
    /// Creates an empty log of the server `origin`.
    pub fn new(origin: &str) -> Self {
        let log = Log {
            origin: origin.into(),
            transactions: Vec::new(),
            purged: 0,
            executed: Position::new(),
            visible: Position::new(),
            hidden: false,
            deferred: false,
            failures: Vec::new(),
            refused: Vec::new(),
            warnings: Vec::new(),
            read_from: None,
            closed: 0,
            acknowledged: Position::new(),
        };
        let script = Script { log: Mutex::new(log), changed: watch::Sender::new(0) };
        Self::reading(Arc::new(script), Arc::default())
    }

    fn reading(script: Arc<Script>, connected: Arc<Mutex<Option<Arc<str>>>>) -> Self {
        Self { script, connected, next: None, delivered: Position::new() }
    }

    /// Returns a probe or gate of this source.
    fn side(&self) -> Arc<Self> {
        Arc::new(Self::reading(Arc::clone(&self.script), Arc::clone(&self.connected)))
    }

    fn connected(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a transaction with these changes, and returns its identity.
    pub fn commit(&self, changes: impl IntoIterator<Item = Change>) -> Gtid {
        let mut log = self.script.lock();
        let number =
            log.transactions.iter().filter(|transaction| transaction.gtid.origin == log.origin).count() as u64 + 1;
        let gtid = Gtid { origin: Arc::clone(&log.origin), number };
        log.transactions.push(Transaction {
            transit: TransitTimes::default(),
            gtid: gtid.clone(),
            committed_at: Timestamp::UNKNOWN,
            changes: changes.into_iter().collect(),
            complete: true,
        });
        if !log.deferred {
            log.executed.insert(&gtid);
        }
        if !log.hidden {
            log.visible.insert(&gtid);
        }
        drop(log);
        self.script.wake();
        gtid
    }

    /// Hides commits from now on: they are in the log and not visible to readers, until [`reveal`](Self::reveal).
    pub fn hide(&self) {
        self.script.lock().hidden = true;
    }

    /// Leaves commits out of the server's position from now on, until [`reveal`](Self::reveal): they are in the log, and wait for
    /// a replica.
    pub fn defer_executed(&self) {
        self.script.lock().deferred = true;
    }

    /// Makes every commit visible.
    pub fn reveal(&self) {
        let mut log = self.script.lock();
        (log.hidden, log.deferred) = (false, false);
        let mut executed = std::mem::take(&mut log.executed);
        log.transactions.iter().for_each(|transaction| executed.insert(&transaction.gtid));
        log.executed = executed;
        log.visible = log.executed.clone();
        drop(log);
        self.script.wake();
    }

    /// Purges the log: a reader that has not read everything finds a gap.
    pub fn purge(&self) {
        let mut log = self.script.lock();
        log.purged = log.transactions.len();
    }

    /// Loses all transactions of the server but the first `kept`, as a server does that is restored from a copy. The next commits
    /// have their numbers.
    pub fn restore(&self, kept: usize) {
        let mut log = self.script.lock();
        log.transactions.truncate(kept);
        let mut executed = Position::new();
        log.transactions.iter().for_each(|transaction| executed.insert(&transaction.gtid));
        (log.executed, log.visible) = (executed.clone(), executed);
    }

    /// Makes the next read fail with this error, once.
    pub fn fail(&self, error: Error) {
        self.script.lock().failures.push(error);
        self.script.wake();
    }

    /// Makes the log that of another server.
    pub fn become_server(&self, origin: &str) {
        self.script.lock().origin = origin.into();
    }

    /// Reads the log from this server from now on, while its end is still read from the former one, as with an address that
    /// leads to several servers.
    pub fn read_from(&self, origin: &str) {
        self.script.lock().read_from = Some(origin.into());
    }

    /// Makes `preflight` refuse these tables from now on.
    pub fn refuse(&self, tables: &[&str]) {
        self.script.lock().refused = tables.iter().map(|&table| table.into()).collect();
    }

    /// Makes every check of the set-up return these warnings.
    pub fn warn(&self, warnings: &[&str]) {
        self.script.lock().warnings = warnings.iter().map(|&warning| warning.to_owned()).collect();
    }

    /// Returns the number of calls of [`ChangeSource::close`] on this source and its clones.
    pub fn closed(&self) -> u64 {
        self.script.lock().closed
    }

    /// Returns every committed transaction.
    pub fn executed(&self) -> Position {
        self.script.lock().executed.clone()
    }

    /// Returns the newest acknowledged position.
    pub fn acknowledged(&self) -> Position {
        self.script.lock().acknowledged.clone()
    }
}

impl Clone for ScriptedSource {
    fn clone(&self) -> Self {
        Self {
            next: self.next,
            delivered: self.delivered.clone(),
            ..Self::reading(Arc::clone(&self.script), Arc::default())
        }
    }
}

impl Script {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Returns the error that a test has set for the next read, once.
    fn take_failure(&self) -> Result<()> {
        let mut log = self.lock();
        if log.failures.is_empty() { Ok(()) } else { Err(log.failures.remove(0)) }
    }
}

#[async_trait]
impl ChangeSource for ScriptedSource {
    fn describe(&self) -> String {
        format!("script of {}", self.script.lock().origin)
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        self.script.take_failure()?;
        let log = self.script.lock();
        *self.connected() = Some(Arc::clone(&log.origin));
        match log.refused.iter().find(|table| filter.get(table).is_some()) {
            Some(table) => Err(Error::new(ErrorKind::Config, format!("table `{table}` is refused by the test"))),
            None => Ok(log.warnings.clone()),
        }
    }

    async fn open(&mut self, from: &Checkpoint, _filter: &TableFilter) -> Result<()> {
        self.script.take_failure()?;
        let log = self.script.lock();
        let next = log.transactions.iter().position(|transaction| !from.position.contains(&transaction.gtid));
        let next = next.unwrap_or(log.transactions.len());
        if next < log.purged {
            return Err(Error::new(ErrorKind::Gap, "the log was purged"));
        }
        *self.connected() = Some(log.read_from.as_deref().map_or_else(|| Arc::clone(&log.origin), Arc::from));
        drop(log);
        self.next = Some((next, 0));
        self.delivered = from.position.clone();
        Ok(())
    }

    fn origin(&self) -> Option<Box<str>> {
        let log = self.script.lock();
        Some(log.read_from.clone().unwrap_or_else(|| (*log.origin).into()))
    }

    async fn close(&mut self) {
        self.script.lock().closed += 1;
        self.next = None;
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let mut changes = self.script.changed.subscribe();
        let deadline = tokio::time::sleep(limits.wait_max);
        tokio::pin!(deadline);
        loop {
            self.script.take_failure()?;
            let Some(next) = self.next else {
                return Err(Error::new(ErrorKind::Unavailable, "the source is not open"));
            };
            let (transactions, taken) = self.script.lock().after(next, limits.changes_max);
            if !transactions.is_empty() {
                self.next = Some(taken);
                for transaction in transactions.iter().filter(|transaction| transaction.complete) {
                    self.delivered.insert(&transaction.gtid);
                }
                let checkpoint = Checkpoint { position: self.delivered.clone(), ..Checkpoint::default() };
                return Ok(Batch { transactions, checkpoint });
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = &mut deadline => {
                    let checkpoint = Checkpoint { position: self.delivered.clone(), ..Checkpoint::default() };
                    return Ok(Batch { transactions: Vec::new(), checkpoint });
                }
            }
        }
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.script.lock().acknowledged = checkpoint.position.clone();
        Ok(())
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        self.side()
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        Some(self.side())
    }
}

impl Log {
    /// Returns the transactions after `next`, up to `changes_max` changes, and the position after them. A larger transaction
    /// is returned in parts.
    fn after(&self, next: (usize, usize), changes_max: usize) -> (Vec<Transaction>, (usize, usize)) {
        let mut taken: Vec<Transaction> = Vec::new();
        let (mut place, mut room) = (next, changes_max.max(1));
        while let Some(transaction) = self.transactions.get(place.0) {
            let rest = transaction.changes.get(place.1..).unwrap_or_default();
            if rest.len() > room && !taken.is_empty() {
                break;
            }
            let part = rest.get(..room.min(rest.len())).unwrap_or_default();
            let complete = part.len() == rest.len();
            taken.push(Transaction { changes: part.to_vec(), complete, ..transaction.clone() });
            if !complete {
                place.1 += part.len();
                break;
            }
            room -= part.len();
            place = (place.0 + 1, 0);
        }
        (taken, place)
    }
}

#[async_trait]
impl SourceProbe for ScriptedSource {
    async fn head(&self) -> Result<Head> {
        let log = self.script.lock();
        *self.connected() = Some(Arc::clone(&log.origin));
        let checkpoint = Checkpoint { position: log.executed.clone(), ..Checkpoint::default() };
        Ok(Head { checkpoint, origin: (*log.origin).into() })
    }
}

#[async_trait]
impl VisibilityGate for ScriptedSource {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        let mut changes = self.script.changed.subscribe();
        let here = Arc::clone(&self.script.lock().origin);
        if let Some(log) = self.connected().as_ref().filter(|log| **log != here) {
            let message = format!("the gate waits on server {here}, but the log is read from {log}");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let visible = async {
            while !self.script.lock().visible.covers(position) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        Ok(tokio::time::timeout(timeout, visible).await.is_ok())
    }
}

impl fmt::Debug for ScriptedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedSource").field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::event::{Change, Operation, RowChange, RowImage, Value};
    use crate::testing::SourceFixture;

    struct Scripted(ScriptedSource);

    #[async_trait]
    impl SourceFixture for Scripted {
        async fn source(&mut self) -> Box<dyn ChangeSource> {
            Box::new(ScriptedSource::reading(Arc::clone(&self.0.script), Arc::default()))
        }

        fn table_filter(&self) -> TableFilter {
            TableFilter::new()
        }

        async fn commit(&mut self, ids: Range<u64>) {
            self.0.commit(ids.map(|id| {
                Change::Row(RowChange {
                    table: "suite.rows".into(),
                    operation: Operation::Insert,
                    before: None,
                    after: Some(RowImage::from_pairs([("id", Value::UInt(id))])),
                })
            }));
        }

        async fn commit_elsewhere(&mut self) {
            self.0.commit([]);
        }

        async fn purge(&mut self) {
            self.0.purge();
        }
    }

    crate::source_suite!(std::future::ready(Scripted(ScriptedSource::new("suite"))));
}
