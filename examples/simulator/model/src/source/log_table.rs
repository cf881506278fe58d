//! A change source over the log table that the embedded database's triggers write.

mod reader;
mod row;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cachefront::event::Batch;
use cachefront::gate::{OpenGate, VisibilityGate};
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, Head, SourceProbe, TableFilter};
use cachefront::{Error, ErrorKind, Position, Result};
use reader::{Reader, failed};
use rusqlite::Connection;

use crate::db::sqlite::{SqliteFile, head, position_of};
use crate::domain::DbError;

/// The log is trimmed each time this many rows were acknowledged, so that not every batch writes.
const TRIM_EVERY: u64 = 1_000;

/// This many acknowledged rows are kept, for other programs that read the same file and are a little behind.
const TRIM_KEEP: u64 = 1_000;

/// Trimming waits for another writer at most this long: it can be done next time.
const TRIM_BUSY_TIMEOUT: Duration = Duration::from_millis(20);

/// Reads committed rows of `cachefront_log` in order. They are visible to all readers when they are delivered.
#[derive(Debug)]
pub struct LogTableSource {
    file: SqliteFile,
    reader: Arc<Mutex<Reader>>,
    probe: Arc<LogProbe>,
    trimmer: Arc<Mutex<Connection>>,
    trimmed: u64,
    /// The last row that was delivered; `None` until the source is opened.
    at: Option<u64>,
    filter: Arc<TableFilter>,
}

impl LogTableSource {
    /// # Errors
    /// `Unavailable` or `Config` if the file cannot be opened.
    pub fn new(file: &SqliteFile) -> Result<Self> {
        let connect = || file.connect().map_err(unavailable);
        let trimmer = connect()?;
        trimmer.busy_timeout(TRIM_BUSY_TIMEOUT).map_err(failed)?;
        Ok(Self {
            file: file.clone(),
            reader: Arc::new(Mutex::new(Reader::new(connect()?, file.uuid()))),
            probe: Arc::new(LogProbe { connection: Arc::new(Mutex::new(connect()?)), file: file.clone() }),
            trimmer: Arc::new(Mutex::new(trimmer)),
            trimmed: 0,
            at: None,
            filter: Arc::new(TableFilter::new()),
        })
    }

    /// Looks for commits only this often, for a reader that is in no hurry.
    ///
    /// # Errors
    /// `Closed` if reading panicked before.
    pub fn with_pause(self, pause: Duration) -> Result<Self> {
        locked(&self.reader)?.steady_pause = Some(pause);
        Ok(self)
    }

    fn checkpoint(&self, at: u64) -> Checkpoint {
        Checkpoint { position: position_of(&self.file.uuid(), at), resume: Bytes::new() }
    }

    /// Returns the row number of a position.
    fn row_of(&self, position: &Position) -> Result<u64> {
        let uuid = self.file.uuid();
        let mut ranges = position.ranges();
        match (ranges.next(), ranges.next()) {
            (None, _) => Ok(0),
            (Some((origin, &[(1, end)])), None) if origin == &*uuid => Ok(end),
            _ => Err(Error::new(
                ErrorKind::Gap,
                format!("the position is not one of the database file {uuid}: it was kept for another file"),
            )),
        }
    }
}

#[async_trait]
impl ChangeSource for LogTableSource {
    fn describe(&self) -> String {
        format!("log table of {}", self.file.path().display())
    }

    async fn preflight(&mut self, _filter: &TableFilter) -> Result<Vec<String>> {
        let reader = Arc::clone(&self.reader);
        blocking(move || locked(&reader)?.preflight()).await
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        let at = self.row_of(&from.position)?;
        let reader = Arc::clone(&self.reader);
        blocking(move || locked(&reader)?.check(at)).await?;
        self.at = Some(at);
        self.trimmed = at;
        self.filter = Arc::new(filter.clone());
        Ok(())
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let Some(after) = self.at else {
            return Err(Error::new(ErrorKind::Unavailable, "the source is not open"));
        };
        // If this future is dropped, the thread stops within a pause. Nothing is lost: `at` has not moved.
        let stop = StopOnDrop::default();
        let (reader, limits) = (Arc::clone(&self.reader), *limits);
        let (stopped, filter) = (Arc::clone(&stop.0), Arc::clone(&self.filter));
        let taken = blocking(move || locked(&reader)?.take(after, &limits, &filter, &stopped)).await?;
        self.at = Some(taken.last);
        Ok(Batch { transactions: taken.transactions, checkpoint: self.checkpoint(taken.last) })
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let acknowledged = self.row_of(&checkpoint.position)?;
        if acknowledged < self.trimmed.saturating_add(TRIM_EVERY) {
            return Ok(());
        }
        self.trimmed = acknowledged;
        let trimmer = Arc::clone(&self.trimmer);
        blocking(move || trim(&*locked(&trimmer)?, acknowledged.saturating_sub(TRIM_KEEP))).await
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        Arc::clone(&self.probe) as Arc<dyn SourceProbe>
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        Some(Arc::new(OpenGate))
    }
}

fn trim(connection: &Connection, up_to: u64) -> Result<()> {
    let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
    match connection.execute("DELETE FROM cachefront_log WHERE seq <= ?1", [up_to]) {
        Ok(_) => Ok(()),
        // Another program is writing: trim next time.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Reads the log's end.
#[derive(Debug)]
struct LogProbe {
    connection: Arc<Mutex<Connection>>,
    file: SqliteFile,
}

#[async_trait]
impl SourceProbe for LogProbe {
    async fn head(&self) -> Result<Head> {
        let connection = Arc::clone(&self.connection);
        let seq = blocking(move || head(&*locked(&connection)?).map_err(failed)).await?;
        let uuid = self.file.uuid();
        let checkpoint = Checkpoint { position: position_of(&uuid, seq), resume: Bytes::new() };
        Ok(Head { checkpoint, origin: Box::from(&*uuid) })
    }
}

/// When dropped, tells a thread to stop: its result is no longer awaited.
#[derive(Debug, Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::with_source(ErrorKind::Unavailable, "reading the log table ended early", error)),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::new(ErrorKind::Closed, "reading the log table panicked before"))
}

fn unavailable(error: DbError) -> Error {
    Error::with_source(ErrorKind::Unavailable, "the embedded database cannot be opened", error)
}
