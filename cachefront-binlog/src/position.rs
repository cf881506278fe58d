//! Converts GTID sets between MySQL's text, the core's [`Position`] and the format of the dump request.
//!
//! See <https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html#replication-gtids-concepts-gtid-sets>.

use std::time::Duration;

use cachefront_core::backoff::DURATION_MAX;
use cachefront_core::{Error, ErrorKind, LoadCx, Position, Result};
use mysql_async::Sid;
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::config::deadline_after;
use crate::error;
use crate::mariadb::{IDENTITY_PREFIX, position as mariadb, visible};
use crate::rows_of::RowsOf;

/// Reads the executed GTIDs and the server's identity in one statement: a proxy may send a second one to another server. A
/// server of MySQL executes the first comment, one of MariaDB the second.
pub(crate) const POSITION: &str = "SELECT /*!50700 @@GLOBAL.gtid_executed, @@GLOBAL.server_uuid */ /*M! \
     @@GLOBAL.gtid_binlog_state, CONCAT('mariadb-', @@GLOBAL.server_id, '-', LEFT(MD5(CONCAT(@@GLOBAL.hostname, ':', \
     @@GLOBAL.port)), 24)) */";

/// Reads the position that the server has executed, and its identity, for loaders. The identity is the server's UUID; on
/// MariaDB, which has none, it is made of server id, host and port.
///
/// On MariaDB a commit is in the position before other sessions see it, so this waits until it is visible, for at most 100 ms;
/// after that the position is empty, which claims nothing. The user needs the right BINLOG MONITOR.
///
/// Call it on the loader's connection *before* its SELECT and outside of a transaction, and pass both to
/// `LoadCx::position` and `LoadCx::origin`. The value that is read afterwards contains every commit of that position.
///
/// # Cancel safety
/// Cancel safe: mysql_async closes a connection whose query was dropped.
///
/// # Errors
/// `Unavailable` if the server cannot be queried; `Config` if it has no GTIDs, or a right is missing.
///
/// ```no_run
/// # async fn run(pool: &cachefront::binlog::mysql_async::Pool, cx: &cachefront::LoadCx) -> Result<(), Box<dyn std::error::Error>> {
/// let mut conn = pool.get_conn().await?;
/// let (executed, server) = cachefront::binlog::read_position(&mut conn).await?;
/// cx.position(executed);
/// cx.origin(&server);
/// # Ok(())
/// # }
/// ```
pub async fn read_position<Q: Queryable>(conn: &mut Q) -> Result<(Position, String)> {
    let (position, server) = logged(conn).await?;
    if server.starts_with(IDENTITY_PREFIX) && !visible::all(conn, deadline_after(VISIBLE_WITHIN)).await? {
        return Ok((Position::new(), server));
    }
    Ok((position, server))
}

/// Maximum time that a loader waits on MariaDB until what it has logged is visible.
const VISIBLE_WITHIN: Duration = Duration::from_millis(100);

/// Reads the position that the log has, and the server's identity. On MariaDB its last commits may not be visible yet.
pub(crate) async fn logged<Q: Queryable>(conn: &mut Q) -> Result<(Position, String)> {
    let row: Option<(String, String)> =
        conn.first_of(POSITION).await.map_err(|cause| error::query("reading @@GLOBAL.gtid_executed", cause))?;
    let (executed, server) =
        row.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the server returned no @@GLOBAL.gtid_executed"))?;
    Ok((parse(&executed, &server)?, server))
}

/// Waits on MariaDB until the log has a position, and it is visible. `has` is what the log had last.
pub(crate) async fn wait_visible<Q: Queryable>(
    conn: &mut Q,
    position: &Position,
    deadline: Instant,
    mut has: Position,
) -> Result<bool> {
    let mut pause = visible::PAUSE_MIN;
    while !has.covers(position) {
        let now = Instant::now();
        if now >= deadline {
            return Ok(false);
        }
        tokio::time::sleep_until((now + pause).min(deadline)).await;
        pause = (pause * 2).min(visible::PAUSE_MAX);
        has = logged(conn).await?.0;
    }
    visible::all(conn, deadline).await
}

/// Waits until other sessions of the server see everything up to `position`. Returns false if they do not after `limit`.
pub(crate) async fn wait_executed<Q: Queryable>(conn: &mut Q, position: &Position, limit: Duration) -> Result<bool> {
    if position.is_empty() {
        return Ok(true);
    }
    if mariadb::is_of_mariadb(position) {
        // It has no function that waits on a primary.
        let deadline = deadline_after(limit);
        let (has, _) = logged(conn).await?;
        return wait_visible(conn, position, deadline, has).await;
    }
    let sql = format!("SELECT {UNLIMITED} {}", wait_call(position, limit));
    let timed_out: Option<Option<i64>> =
        conn.first_of(sql).await.map_err(|cause| error::query("waiting until a position is executed", cause))?;
    Ok(timed_out.flatten() == Some(0))
}

/// Follows the SELECT of a call that waits: without it the server ends a wait that is longer than its `max_execution_time`, with an
/// error. The number, in milliseconds, is the largest one; 0 would mean the server's own limit.
pub(crate) const UNLIMITED: &str = "/*+ MAX_EXECUTION_TIME(4294967295) */";

/// Returns the call that waits on a server of MySQL; it returns 0 if the server has executed everything up to `position`.
pub(crate) fn wait_call(position: &Position, limit: Duration) -> String {
    // The text of a position has only hexadecimal digits, tags and numbers, so it needs no quoting. A time of 0 would wait
    // without end.
    let seconds = limit.min(DURATION_MAX).as_secs_f64().max(0.001);
    format!("WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds:.3})")
}

/// The first place of a file after `place` whose lower 32 bits are these: headers have no more, and a file may be larger than 4 GiB.
pub(crate) fn place_after(place: u64, low: u32) -> u64 {
    let same = place & !u64::from(u32::MAX) | u64::from(low);
    if same > place { same } else { same + (1 << 32) }
}

/// Parses the position of the server with this identity.
pub(crate) fn parse(text: &str, server: &str) -> Result<Position> {
    if server.starts_with(IDENTITY_PREFIX) { mariadb::parse(text) } else { parse_executed(text) }
}

/// For loaders of [fenced](cachefront_core::CacheBuilder::fenced) caches: waits until the server has executed the load's
/// [fence](LoadCx::fence), for at most [`fence_wait`](LoadCx::fence_wait), then reports the position that it has executed.
///
/// Call it on the loader's connection before its SELECT and outside of a transaction. It returns in any case: a value of a
/// server that lacks the fence is returned and not kept. A loader of a replica also calls `LoadCx::replica`, one of the
/// server that commits `LoadCx::origin` with the UUID that this returns. Without a fence it is
/// [`read_position`](read_position).
///
/// # Cancel safety
/// Cancel safe: mysql_async closes a connection whose query was dropped.
///
/// # Errors
/// As [`read_position`].
///
/// ```no_run
/// # async fn run(replicas: &cachefront::binlog::mysql_async::Pool, cx: &cachefront::LoadCx) -> Result<(), Box<dyn std::error::Error>> {
/// let mut conn = replicas.get_conn().await?;
/// cachefront::binlog::read_fenced_position(&mut conn, cx).await?;
/// cx.replica();
/// # Ok(())
/// # }
/// ```
pub async fn read_fenced_position<Q: Queryable>(conn: &mut Q, cx: &LoadCx) -> Result<String> {
    if let Some(fence) = cx.fence() {
        wait_executed(conn, fence, cx.fence_wait()).await?;
    }
    // A statement of its own: a variable in the same one could be read before the wait.
    let (position, server) = read_position(conn).await?;
    cx.position(position);
    Ok(server)
}

/// Length in bytes of the pieces in which the ranges of one server are parsed; it is far below the limit for a position
/// from outside.
const PIECE_BYTES: usize = 4 << 10;

/// Parses a set that the server printed. It may be longer than a token from outside may be, so it is parsed in pieces.
pub(crate) fn parse_executed(text: &str) -> Result<Position> {
    let mut position = Position::new();
    for part in text.split(',') {
        read_server(part.trim(), &mut position)?;
    }
    Ok(position)
}

/// Parses the ranges of one server, `uuid:1-5:7:tag:1-2`. A tag applies to the ranges that follow it.
fn read_server(text: &str, position: &mut Position) -> Result<()> {
    let Some((server, fields)) = text.split_once(':') else {
        position.union(&text.parse()?);
        return Ok(());
    };
    let mut piece = String::from(server);
    let mut tag = "";
    for field in fields.split(':') {
        if field.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            tag = field;
        } else if piece.len() >= PIECE_BYTES {
            position.union(&piece.parse()?);
            piece = String::from(server);
            if !tag.is_empty() {
                piece.extend([":", tag]);
            }
        }
        piece.extend([":", field]);
    }
    position.union(&piece.parse()?);
    Ok(())
}

/// Converts a position to the format of the dump request: one block for each origin, with the tag as part of the origin.
pub(crate) fn to_sids(position: &Position) -> Result<Vec<Sid<'static>>> {
    position
        .ranges()
        .map(|(origin, ranges)| {
            let mut text = String::from(origin);
            for (start, end) in ranges {
                text.push_str(&format!(":{start}-{end}"));
            }
            text.parse().map_err(|cause: std::io::Error| {
                Error::with_source(
                    ErrorKind::Gap,
                    format!("the checkpoint names the origin `{origin}`, which is not a MySQL server's UUID"),
                    cause,
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_file_of_more_than_4_gib_rise() {
        assert_eq!(
            [place_after(0, 126), place_after(126, 200), place_after(u64::from(u32::MAX), 0)],
            [126, 200, 1 << 32]
        );
        assert_eq!(place_after((1 << 32) + 500, 499), (2 << 32) + 499);
    }

    #[test]
    fn a_tag_becomes_a_block_of_its_own() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let position: Position = format!("{uuid}:1-40:42:sale:1-2").parse().expect("a position");
        let sids = to_sids(&position).expect("blocks");
        assert_eq!(sids.len(), 2);
        assert_eq!(sids.iter().map(|sid| sid.intervals().len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(
            sids.iter().filter_map(|sid| sid.tag().map(|tag| tag.as_str().to_owned())).collect::<Vec<_>>(),
            ["sale"]
        );
        let foreign: Position = "demo:1-5".parse().expect("a position of another source");
        assert_eq!(to_sids(&foreign).expect_err("not a UUID").kind(), ErrorKind::Gap);
    }

    #[test]
    fn a_long_set_of_the_server_is_read() {
        let text: Vec<String> = (0..1000).map(|n| format!("{n:08x}-71ca-11e1-9e33-c80aa9429562:1-5\n")).collect();
        let position = parse_executed(&text.join(",")).expect("a set of a thousand servers");
        assert_eq!(position.ranges().count(), 1000);
    }

    #[test]
    fn one_server_with_many_ranges_is_read_under_its_tags() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let ranges = |first: u64| -> String { (0..3000).map(|n| format!(":{}", first + 2 * n)).collect() };
        let text = format!("{uuid}{}:sale{}:refund:7,\n{uuid}:1", ranges(1_000_001), ranges(2_000_001));
        let position = parse_executed(&text).expect("a long set");
        let counts: Vec<(&str, usize)> = position.ranges().map(|(origin, ranges)| (origin, ranges.len())).collect();
        let (sale, refund) = (format!("{uuid}:sale"), format!("{uuid}:refund"));
        assert_eq!(counts, [(uuid, 3001), (&*refund, 1), (&*sale, 3000)]);
        for wrong in [format!("{uuid}:sale"), format!("{uuid}:5:0"), format!("{uuid}:"), "uu/id:1".into(), uuid.into()]
        {
            parse_executed(&wrong).expect_err(&wrong);
        }
        assert!(parse_executed("").expect("the empty set").is_empty());
        assert!(parse_executed("\n").expect("the empty set").is_empty());
    }
}
