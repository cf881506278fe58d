//! The database's log as a change source, and the gate that waits until sessions see a commit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront::event::{Batch, Change, Operation, RowChange, RowImage, TableName, Transaction, TransitTimes, Value};
use cachefront::gate::VisibilityGate;
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, Head, SourceProbe, TableFilter};
use cachefront::{Error, ErrorKind, Gtid, Position, Result, Timestamp};

use crate::database::{PRIMARY, RaceDatabase, newest, up_to};
use crate::rows::ROW;

/// The table of the row, as the log names it.
pub(crate) const TABLE: &str = "shop.users";

/// Reads the log as far as it was delivered.
#[derive(Debug)]
pub(crate) struct RaceSource {
    database: Arc<RaceDatabase>,
    /// The last commit that was read; `None` until the source is opened.
    at: Option<u64>,
}

impl RaceSource {
    pub(crate) fn new(database: &Arc<RaceDatabase>) -> Self {
        Self { database: Arc::clone(database), at: None }
    }

    /// Returns the next transactions, `None` if there are none yet.
    fn take(&mut self, changes_max: usize) -> Result<Option<Batch>> {
        let Some(at) = self.at else {
            return Err(Error::new(ErrorKind::Unavailable, "the source is not open"));
        };
        let numbers = self.database.numbers();
        if numbers.delivered <= at {
            return Ok(None);
        }
        if at < numbers.purged {
            return Err(Error::new(ErrorKind::Gap, format!("the log after commit {at} was purged")));
        }
        let room = u64::try_from(changes_max.max(1)).unwrap_or(u64::MAX);
        let last = numbers.delivered.min(at.saturating_add(room));
        self.at = Some(last);
        let transactions = (at + 1..=last).map(|number| self.transaction(number)).collect();
        Ok(Some(Batch { transactions, checkpoint: checkpoint(last) }))
    }

    fn transaction(&self, number: u64) -> Transaction {
        let (before, after) = match number {
            1 => (None, Some(self.image(1))),
            number => (Some(self.image(number - 1)), Some(self.image(number))),
        };
        let operation = if before.is_some() { Operation::Update } else { Operation::Insert };
        let (database, table) = TABLE.split_once('.').unwrap_or_default();
        let change = Change::Row(RowChange { table: TableName::new(database, table), operation, before, after });
        Transaction {
            gtid: Gtid { origin: PRIMARY.into(), number },
            committed_at: Timestamp::UNKNOWN,
            transit: TransitTimes::default(),
            changes: vec![change],
            complete: true,
        }
    }

    fn image(&self, commit: u64) -> RowImage {
        let name = self.database.name_after(commit);
        RowImage::from_pairs([("id", Value::UInt(ROW)), ("name", Value::Text(name.into()))])
    }
}

fn checkpoint(last: u64) -> Checkpoint {
    Checkpoint { position: up_to(last), ..Checkpoint::default() }
}

#[async_trait]
impl ChangeSource for RaceSource {
    fn describe(&self) -> String {
        "log of a race".into()
    }

    async fn preflight(&mut self, _filter: &TableFilter) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn open(&mut self, from: &Checkpoint, _filter: &TableFilter) -> Result<()> {
        self.at = Some(newest(&from.position));
        Ok(())
    }

    fn origin(&self) -> Option<Box<str>> {
        Some(PRIMARY.into())
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let mut changes = self.database.changes();
        let deadline = tokio::time::sleep(limits.wait_max);
        tokio::pin!(deadline);
        loop {
            if let Some(batch) = self.take(limits.changes_max)? {
                return Ok(batch);
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = &mut deadline => {
                    let checkpoint = checkpoint(self.at.unwrap_or_default());
                    return Ok(Batch { transactions: Vec::new(), checkpoint });
                }
            }
        }
    }

    async fn acknowledge(&mut self, _checkpoint: &Checkpoint) -> Result<()> {
        Ok(())
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        Arc::new(RaceLog(Arc::clone(&self.database)))
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        Some(Arc::new(RaceLog(Arc::clone(&self.database))))
    }
}

/// Reads the end of the log, and waits until sessions of the primary see a commit.
#[derive(Debug)]
pub(crate) struct RaceLog(pub(crate) Arc<RaceDatabase>);

#[async_trait]
impl SourceProbe for RaceLog {
    async fn head(&self) -> Result<Head> {
        Ok(Head { checkpoint: checkpoint(self.0.numbers().committed), origin: PRIMARY.into() })
    }
}

#[async_trait]
impl VisibilityGate for RaceLog {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        let mut changes = self.0.changes();
        let is_visible = || up_to(self.0.numbers().visible).covers(position);
        if is_visible() {
            return Ok(true);
        }
        let _waiting = AtGate::new(&self.0);
        let visible = async {
            while !is_visible() {
                // Cannot fail: the database has the sender.
                let _ = changes.changed().await;
            }
        };
        Ok(tokio::time::timeout(timeout, visible).await.is_ok())
    }
}

/// Counts a wait at the gate for as long as it lasts.
struct AtGate<'a>(&'a RaceDatabase);

impl<'a> AtGate<'a> {
    fn new(database: &'a RaceDatabase) -> Self {
        database.note_gate(true);
        Self(database)
    }
}

impl Drop for AtGate<'_> {
    fn drop(&mut self) {
        self.0.note_gate(false);
    }
}
