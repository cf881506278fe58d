//! When the commits of MariaDB are visible to other sessions.
//!
//! MariaDB writes a commit to its log before other sessions see it, and its GTID variables move with the log, so none of them
//! proves visibility, and a primary has no function that waits for it. But the status variables `Binlog_snapshot_file` and
//! `Binlog_snapshot_position` are the place in the log up to which commits are visible: the server moves them in the order of the
//! log, each with the commit in the storage engine
//! (<https://mariadb.com/kb/en/enhancements-for-start-transaction-with-consistent-snapshot/>). So a position is visible when
//! this place has reached one that was the end of the log when the position was already in it.

use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::error;
use crate::rows_of::RowsOf;

/// A place in the log: the number of the file, and an offset.
type Place = (u64, u64);

/// The first pause between two polls. Commits become visible within a fraction of a millisecond.
pub(crate) const PAUSE_MIN: Duration = Duration::from_micros(200);

/// The longest pause, for commits that wait for a replica.
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(5);

/// Waits until everything that is in the log now is visible. Returns false if it is not at `deadline`.
///
/// # Errors
/// `Config` if the user may not read the end of the log; `Unavailable` if the server cannot be queried.
pub(crate) async fn all<Q: Queryable>(conn: &mut Q, deadline: Instant) -> Result<bool> {
    let end = end(conn).await?;
    let mut pause = PAUSE_MIN;
    while visible(conn).await? < end {
        let now = Instant::now();
        if now >= deadline {
            return Ok(false);
        }
        tokio::time::sleep_until((now + pause).min(deadline)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Ok(true)
}

/// The end of the log.
async fn end<Q: Queryable>(conn: &mut Q) -> Result<Place> {
    let row: Option<Row> = conn.first_of("SHOW MASTER STATUS").await.map_err(|cause| match &cause {
        mysql_async::Error::Server(refused) if refused.code == 1227 => Error::with_source(
            ErrorKind::Config,
            "the user may not read the end of the log: GRANT BINLOG MONITOR ON *.* TO the user",
            cause,
        ),
        _ => error::query("reading the end of the log", cause),
    })?;
    let place = row.and_then(|row| place(&row.get_opt::<String, _>(0)?.ok()?, row.get_opt(1)?.ok()?));
    place.ok_or_else(|| Error::new(ErrorKind::Config, "the server writes no binary log: start it with --log-bin"))
}

/// The place up to which commits are visible.
async fn visible<Q: Queryable>(conn: &mut Q) -> Result<Place> {
    let rows: Vec<(String, String)> = conn
        .all_of("SHOW GLOBAL STATUS LIKE 'Binlog_snapshot_%'")
        .await
        .map_err(|cause| error::query("reading the visible part of the log", cause))?;
    let value = |name: &str| rows.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let found = value("Binlog_snapshot_file").zip(value("Binlog_snapshot_position"));
    let place = found.and_then(|(file, offset)| place(file, offset.parse().ok()?));
    place.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the server does not say which commits are visible"))
}

/// A place from the name of a file, which ends with its number.
fn place(file: &str, offset: u64) -> Option<Place> {
    Some((file.rsplit_once('.')?.1.parse().ok()?, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_in_the_order_of_their_numbers() {
        assert!(place("binlog.999999", 500) < place("binlog.1000000", 4));
        assert!(place("a.b.000002", 4) < place("a.b.000002", 5));
        assert_eq!(place("binlog", 4), None);
    }
}
