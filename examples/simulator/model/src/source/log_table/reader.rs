//! The blocking half: waits for rows and reads them, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cachefront::event::Transaction;
use cachefront::source::{BatchLimits, TableFilter};
use cachefront::{Error, ErrorKind, Result};
use rusqlite::Connection;

use super::row::{LogRow, SELECT};
use crate::db::sqlite::{head, install};

/// How often SQLite is asked whether there was a commit. The query reads a few bytes of shared memory.
const PAUSE: Duration = Duration::from_millis(1);

/// The same after [`IDLE_AFTER`] without any rows.
const PAUSE_IDLE: Duration = Duration::from_millis(16);

/// How long no rows must arrive until the log counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// The triggers; without one of them, some changes would not be logged.
const TRIGGERS: [&str; 6] = [
    "cachefront_users_delete",
    "cachefront_users_displace",
    "cachefront_users_insert",
    "cachefront_users_replace",
    "cachefront_users_touch",
    "cachefront_users_update",
];

/// The transactions of the rows that were read, and the number of the last row.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) transactions: Vec<Transaction>,
    pub(super) last: u64,
}

/// One connection that reads the log.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Connection,
    uuid: Arc<str>,
    /// SQLite's schema version when the triggers were last known to exist.
    schema: Option<i64>,
    active_at: Instant,
    /// The version of the file in which no row followed this one: while it is the same, the log need not be read.
    empty: Option<(i64, u64)>,
    /// A pause that is not shortened while rows arrive; `None` for the two above.
    pub(super) steady_pause: Option<Duration>,
}

impl Reader {
    pub(super) fn new(connection: Connection, uuid: Arc<str>) -> Self {
        Self { connection, uuid, schema: None, active_at: Instant::now(), empty: None, steady_pause: None }
    }

    /// Checks the triggers, and that no collation makes unequal keys equal.
    pub(super) fn preflight(&mut self) -> Result<Vec<String>> {
        self.restore_triggers()?;
        let sql: String = self
            .connection
            .query_row("SELECT upper(sql) FROM sqlite_master WHERE type = 'table' AND name = 'users'", [], |row| {
                row.get(0)
            })
            .map_err(failed)?;
        match sql.contains("COLLATE") {
            true => Err(Error::new(
                ErrorKind::Config,
                "a column of `users` has a collation of its own: keys that are equal to it differ in the cache. Create \
                 the table without COLLATE",
            )),
            false => Ok(Vec::new()),
        }
    }

    /// Checks that no row after `at` is missing.
    pub(super) fn check(&mut self, at: u64) -> Result<()> {
        if self.schema.is_none() {
            self.restore_triggers()?;
        }
        let one = BatchLimits { changes_max: 1, bytes_max: 1, wait_max: Duration::ZERO, linger_max: Duration::ZERO };
        self.rows(at, &one).map(drop)
    }

    /// Returns the next rows after `after`; none if none arrive before the deadline or before `stopped` is set.
    pub(super) fn take(
        &mut self,
        after: u64,
        limits: &BatchLimits,
        filter: &TableFilter,
        stopped: &AtomicBool,
    ) -> Result<Taken> {
        let deadline = Instant::now() + limits.wait_max;
        loop {
            // Read before the rows: a commit between the two is then seen by the next query.
            let version = self.data_version()?;
            if self.empty != Some((version, after)) {
                self.check_schema()?;
                let mut rows = self.rows(after, limits)?;
                if !rows.is_empty() {
                    if !limits.linger_max.is_zero() && rows.len() < limits.changes_max {
                        std::thread::sleep(limits.linger_max);
                        rows = self.rows(after, limits)?;
                    }
                    self.active_at = Instant::now();
                    return self.decode(after, &rows, filter);
                }
                self.empty = Some((version, after));
            }
            while self.data_version()? == version {
                if stopped.load(Ordering::Relaxed) || Instant::now() >= deadline {
                    return Ok(Taken { transactions: Vec::new(), last: after });
                }
                std::thread::sleep(self.pause().min(deadline.saturating_duration_since(Instant::now())));
            }
        }
    }

    fn pause(&self) -> Duration {
        let pause = if self.active_at.elapsed() < IDLE_AFTER { PAUSE } else { PAUSE_IDLE };
        self.steady_pause.unwrap_or(pause)
    }

    /// Changes whenever another connection has committed.
    fn data_version(&self) -> Result<i64> {
        self.number("PRAGMA data_version")
    }

    fn number(&self, sql: &str) -> Result<i64> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.query_row([], |row| row.get(0)).map_err(failed)
    }

    /// A changed schema may mean that the table was created again or that its triggers are gone.
    fn check_schema(&mut self) -> Result<()> {
        let schema = self.number("PRAGMA schema_version")?;
        if self.schema == Some(schema) {
            return Ok(());
        }
        self.restore_triggers()?;
        Err(Error::new(ErrorKind::Gap, "the schema of the embedded database was changed: changes may not be logged"))
    }

    fn restore_triggers(&mut self) -> Result<()> {
        let names = TRIGGERS.map(|name| format!("'{name}'")).join(", ");
        let count = format!("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name IN ({names})");
        if self.number(&count)? != TRIGGERS.len() as i64 {
            install(&self.connection).map_err(failed)?;
        }
        self.schema = Some(self.number("PRAGMA schema_version")?);
        Ok(())
    }

    /// Returns the rows after `after`, read in one snapshot. Fails with `Gap` if one is missing.
    fn rows(&mut self, after: u64, limits: &BatchLimits) -> Result<Vec<LogRow>> {
        let snapshot = self.connection.transaction().map_err(failed)?;
        let last = head(&snapshot).map_err(failed)?;
        if last < after {
            return Err(gap(format!("the log ends at {last}, before {after}: an older file was put back")));
        }
        if last == after {
            return Ok(Vec::new());
        }
        let mut statement = snapshot.prepare_cached(SELECT).map_err(failed)?;
        let count = i64::try_from(limits.changes_max).unwrap_or(i64::MAX);
        let mut found = statement.query([i64::try_from(after).unwrap_or(i64::MAX), count]).map_err(failed)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next().map_err(failed)? {
            let row = LogRow::read(row).map_err(failed)?;
            let expected = after + rows.len() as u64 + 1;
            if row.seq != expected {
                return Err(gap(format!("row {expected} of the log is gone, the next one is {}", row.seq)));
            }
            bytes += row.bytes();
            rows.push(row);
            if bytes >= limits.bytes_max {
                break;
            }
        }
        match rows.is_empty() {
            true => Err(gap(format!("all rows of the log after {after} are gone, it ends at {last}"))),
            false => Ok(rows),
        }
    }

    fn decode(&self, after: u64, rows: &[LogRow], filter: &TableFilter) -> Result<Taken> {
        let transactions = rows.iter().map(|row| row.decode(&self.uuid, filter)).collect::<Result<_>>()?;
        Ok(Taken { transactions, last: rows.last().map_or(after, |row| row.seq) })
    }
}

fn gap(message: String) -> Error {
    Error::new(ErrorKind::Gap, message)
}

pub(super) fn failed(error: rusqlite::Error) -> Error {
    Error::with_source(ErrorKind::Unavailable, "the embedded database's log table cannot be read", error)
}
