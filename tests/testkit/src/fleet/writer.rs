//! Writes to all rows, one after the other, and notes in the ledger what was overwritten and when.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::{Conn, Opts, prelude::Queryable};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use super::ledger::{Ledger, now};

/// Pause between two commits.
const PACE: Duration = Duration::from_millis(8);

/// A writer in a task of its own. Dropping the value ends it.
#[derive(Debug)]
pub struct Writer {
    state: Arc<Mutex<Rows>>,
    commits: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// What the writer knows of the rows.
#[derive(Debug)]
pub struct Rows {
    url: String,
    ledger: Ledger,
    conn: Option<Conn>,
    /// The value of each row, as far as it is known.
    current: Vec<u64>,
    /// A value is written once, so that no two states of a row look the same.
    next: u64,
    /// A write whose outcome is not known.
    unsure: Option<(usize, u64)>,
    /// Values that a server has lost.
    lost: Vec<(usize, u64)>,
}

impl Writer {
    /// Writes to the rows 1 to `rows`, whose value is 1, over `url`.
    ///
    /// # Panics
    /// If the ledger cannot be opened.
    pub fn start(url: &str, ledger: &Path, rows: u64) -> Self {
        Self::paced(url, ledger, rows, PACE)
    }

    /// The same with another pause between two commits.
    ///
    /// # Panics
    /// If the ledger cannot be opened.
    pub fn paced(url: &str, ledger: &Path, rows: u64, pace: Duration) -> Self {
        let current = (0..rows).map(|_| 1).collect();
        let ledger = Ledger::open(ledger).expect("the ledger can be opened");
        let rows = Rows { url: url.to_owned(), ledger, conn: None, current, next: 2, unsure: None, lost: Vec::new() };
        let (state, commits) = (Arc::new(Mutex::new(rows)), Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn({
            let (state, commits) = (Arc::clone(&state), Arc::clone(&commits));
            async move {
                let mut row = 0;
                loop {
                    let mut rows = state.lock().await;
                    row = (row + 1) % rows.current.len();
                    match rows.write(row).await {
                        Ok(()) => _ = commits.fetch_add(1, Ordering::SeqCst),
                        Err(error) => {
                            tracing::debug!(%error, "a write failed");
                            rows.conn = None;
                        }
                    }
                    drop(rows);
                    // sleep: the pace of the writes.
                    tokio::time::sleep(pace).await;
                }
            }
        });
        Self { state, commits, task }
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Lets no write begin until the answer is dropped. None is in progress then.
    pub async fn pause(&self) -> MutexGuard<'_, Rows> {
        self.state.lock().await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rows {
    async fn write(&mut self, row: usize) -> Result<(), mysql_async::Error> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => Conn::new(Opts::from_url(&self.url)?).await?,
        };
        if let Some((row, value)) = self.unsure {
            let found: Option<u64> = conn.exec_first("SELECT value FROM item WHERE id = ?", (id_of(row),)).await?;
            if found == Some(value) {
                self.acknowledge(row, value);
            }
            self.unsure = None;
        }
        let value = self.next;
        self.next += 1;
        self.unsure = Some((row, value));
        conn.exec_drop("UPDATE item SET value = ? WHERE id = ?", (value, id_of(row))).await?;
        self.unsure = None;
        self.acknowledge(row, value);
        self.conn = Some(conn);
        Ok(())
    }

    fn acknowledge(&mut self, row: usize, value: u64) {
        self.ledger.note(id_of(row), self.current[row], Some(now()));
        self.current[row] = value;
        for (_, lost) in self.lost.extract_if(.., |(lost, _)| *lost == row) {
            self.ledger.note(id_of(row), lost, Some(now()));
        }
    }

    /// From now on the server of `url` is the truth, which may lack the last commits of the one before it. Returns how
    /// many rows went back.
    ///
    /// Every value that was lost counts as overwritten with the next commit to its row, also one that another lost value had
    /// overwritten: an earlier token of the new server names no commit that the lost value does not contain.
    ///
    /// # Panics
    /// If the server does not reply.
    pub async fn adopt(&mut self, url: &str) -> u64 {
        self.conn = None;
        let mut conn = Conn::new(Opts::from_url(url).expect("a URL")).await.expect("a connection");
        let found: Vec<(u64, u64)> = conn.query("SELECT id, value FROM item").await.expect("the rows");
        let unsure = self.unsure.take();
        let mut back = 0;
        for (id, value) in found {
            let row = usize::try_from(id - 1).expect("a small number");
            match unsure {
                Some((unsure, written)) if unsure == row && written == value => self.acknowledge(row, value),
                Some((unsure, written)) if unsure == row => self.lost.push((row, written)),
                _ => {}
            }
            if value != self.current[row] {
                back += 1;
                for lost in (value..self.current[row]).filter(|lost| self.ledger.overwritten(id, *lost).is_some()) {
                    self.ledger.note(id, lost, None);
                    if lost != value {
                        self.lost.push((row, lost));
                    }
                }
                self.lost.push((row, self.current[row]));
                self.current[row] = value;
            }
        }
        back
    }
}

fn id_of(row: usize) -> u64 {
    row as u64 + 1
}
