//! A change source whose log a test writes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Change, Transaction};
use crate::gate::VisibilityGate;
use crate::position::{Gtid, Position};
use crate::source::{BatchLimits, ChangeSource, Checkpoint, Head, Interests, SourceProbe};

/// A log in memory, with everything that can go wrong with one. A clone is the same log, and each clone reads it from
/// a place of its own, as several invalidators do.
///
/// ```
/// use cachefront_core::testing::ScriptedSource;
///
/// let source = ScriptedSource::new("server-a");
/// let gtid = source.commit([]);
/// assert_eq!(gtid.to_string(), "server-a:1");
/// ```
#[derive(Clone)]
pub struct ScriptedSource {
    script: Arc<Script>,
    /// Where this reader stands; set by `open`.
    next: Option<usize>,
    delivered: Position,
}

struct Script {
    log: Mutex<Log>,
    /// Counts what was done to the log, to wake readers.
    changed: watch::Sender<u64>,
}

struct Log {
    origin: Arc<str>,
    transactions: Vec<Transaction>,
    /// So many transactions at the front are gone.
    purged: usize,
    executed: Position,
    visible: Position,
    hidden: bool,
    failures: Vec<Error>,
    acknowledged: Position,
}

impl ScriptedSource {
    /// An empty log of the server `origin`.
    pub fn new(origin: &str) -> Self {
        let log = Log {
            origin: origin.into(),
            transactions: Vec::new(),
            purged: 0,
            executed: Position::new(),
            visible: Position::new(),
            hidden: false,
            failures: Vec::new(),
            acknowledged: Position::new(),
        };
        let script = Script { log: Mutex::new(log), changed: watch::Sender::new(0) };
        Self { script: Arc::new(script), next: None, delivered: Position::new() }
    }

    /// Commits a transaction with these changes.
    pub fn commit(&self, changes: impl IntoIterator<Item = Change>) -> Gtid {
        let mut log = self.script.lock();
        let number =
            log.transactions.iter().filter(|transaction| transaction.gtid.origin == log.origin).count() as u64 + 1;
        let gtid = Gtid { origin: Arc::clone(&log.origin), number };
        log.transactions.push(Transaction {
            gtid: gtid.clone(),
            committed_at: Timestamp::UNKNOWN,
            changes: changes.into_iter().collect(),
            complete: true,
        });
        log.executed.insert(&gtid);
        if !log.hidden {
            log.visible.insert(&gtid);
        }
        drop(log);
        self.script.wake();
        gtid
    }

    /// From now on commits are in the log and not visible to readers, until [`reveal`](Self::reveal).
    pub fn hide(&self) {
        self.script.lock().hidden = true;
    }

    /// Makes every commit visible.
    pub fn reveal(&self) {
        let mut log = self.script.lock();
        log.hidden = false;
        log.visible = log.executed.clone();
        drop(log);
        self.script.wake();
    }

    /// Throws away everything in the log so far; a reader that has not read it finds a gap.
    pub fn purge(&self) {
        let mut log = self.script.lock();
        log.purged = log.transactions.len();
    }

    /// The next read fails like this, once.
    pub fn fail(&self, error: Error) {
        self.script.lock().failures.push(error);
        self.script.wake();
    }

    /// The log is another server's from now on.
    pub fn become_server(&self, origin: &str) {
        self.script.lock().origin = origin.into();
    }

    /// Everything committed.
    pub fn executed(&self) -> Position {
        self.script.lock().executed.clone()
    }

    /// The newest position that was acknowledged.
    pub fn acknowledged(&self) -> Position {
        self.script.lock().acknowledged.clone()
    }
}

impl Script {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

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

    async fn preflight(&mut self, _interests: &Interests) -> Result<Vec<String>> {
        self.script.take_failure()?;
        Ok(Vec::new())
    }

    async fn open(&mut self, from: &Checkpoint, _interests: &Interests) -> Result<()> {
        self.script.take_failure()?;
        let log = self.script.lock();
        let next = log.transactions.iter().position(|transaction| !from.position.contains(&transaction.gtid));
        let next = next.unwrap_or(log.transactions.len());
        if next < log.purged {
            return Err(Error::new(ErrorKind::Gap, "the log was purged"));
        }
        self.next = Some(next);
        self.delivered = from.position.clone();
        Ok(())
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
                for transaction in &transactions {
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
        Arc::new(self.clone())
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        Some(Arc::new(self.clone()))
    }
}

impl Log {
    fn after(&self, next: usize, changes_max: usize) -> (Vec<Transaction>, usize) {
        let mut taken = Vec::new();
        let mut changes = 0;
        for transaction in self.transactions.iter().skip(next) {
            if !taken.is_empty() && changes + transaction.changes.len() > changes_max {
                break;
            }
            changes += transaction.changes.len();
            taken.push(transaction.clone());
        }
        let after = next + taken.len();
        (taken, after)
    }
}

#[async_trait]
impl SourceProbe for ScriptedSource {
    async fn head(&self) -> Result<Head> {
        let log = self.script.lock();
        let checkpoint = Checkpoint { position: log.executed.clone(), ..Checkpoint::default() };
        Ok(Head { checkpoint, origin: (*log.origin).into() })
    }
}

#[async_trait]
impl VisibilityGate for ScriptedSource {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        let mut changes = self.script.changed.subscribe();
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
