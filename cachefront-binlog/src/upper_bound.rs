//! Reads which commits a reader of the server may have seen: an upper bound, where [`read_position`](crate::read_position) is a
//! lower one.
//!
//! MySQL commits the transactions of a group in the storage engine one after another, and adds their GTIDs to `gtid_executed` when
//! all are done. Until then readers see commits that it lacks. From before the log is written until they are in `gtid_executed`,
//! they are in `gtid_owned`. So what is read from `gtid_owned` first and from `gtid_executed` then has every commit that was
//! visible before.

use std::sync::Arc;

use cachefront_core::{Error, ErrorKind, Position, Result};
use mysql_async::prelude::Queryable;

use crate::error;
use crate::mariadb::IDENTITY_PREFIX;
use crate::position::logged;
use crate::rows_of::RowsOf;

/// Reads the GTIDs of transactions that are being committed, and the server's identity; both are empty on MariaDB.
const OWNED: &str = "SELECT /*!50700 @@GLOBAL.gtid_owned, @@GLOBAL.server_uuid */ /*M! '', '' */";

/// Length of a UUID in bytes.
const UUID_BYTES: usize = 36;

/// Reads a position that contains every commit that a reader of the server may have seen by now, and the server's identity, for
/// [`Loader::executed`](cachefront_core::Loader::executed). The position may also contain transactions that are not visible yet,
/// or never will be: it must not be used as a token, or as the position of a load.
///
/// On MariaDB it is everything in the log, which has each commit before readers see it.
///
/// # Cancel safety
/// Cancel safe: mysql_async closes a connection whose query was dropped.
///
/// # Errors
/// `Unavailable` if the server cannot be queried, or if two statements on `conn` were sent to different servers; `Config` if it has
/// no GTIDs.
///
/// ```no_run
/// # async fn run(pool: &cachefront::binlog::mysql_async::Pool, cx: &cachefront::LoadCx) -> Result<cachefront::Position, Box<dyn std::error::Error>> {
/// let mut conn = pool.get_conn().await?;
/// let (executed, server) = cachefront::binlog::read_upper_bound(&mut conn).await?;
/// cx.origin(&server);
/// # Ok(executed)
/// # }
/// ```
pub async fn read_upper_bound<Q: Queryable>(conn: &mut Q) -> Result<(Position, String)> {
    let row: Option<(String, String)> =
        conn.first_of(OWNED).await.map_err(|cause| error::query("reading @@GLOBAL.gtid_owned", cause))?;
    let (owned, owner) =
        row.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the server returned no @@GLOBAL.gtid_owned"))?;
    // A transaction that was owned above and has been committed meanwhile is in both.
    let (mut position, server) = logged(conn).await?;
    if server != owner && !server.starts_with(IDENTITY_PREFIX) {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "two statements of one connection reached the servers {owner} and {server}: connect without a proxy"
            ),
        ));
    }
    position.union(&parse_owned(&owned)?);
    Ok((position, server))
}

/// Parses the value of MySQL's `@@GLOBAL.gtid_owned`: the GTIDs of transactions that are being committed, each with its thread, as
/// in `uuid:24#17:25#18`. For loaders with another driver; see [`read_upper_bound`].
///
/// # Errors
/// `Corrupt` if the text has another form.
pub fn parse_owned(text: &str) -> Result<Position> {
    let mut position = Position::new();
    let mut origin = String::new();
    for (index, field) in text.trim().split(':').enumerate() {
        // The UUID of the next transactions ends a field. What separates it from the last thread differs.
        let split = field.len().checked_sub(UUID_BYTES).and_then(|at| field.split_at_checked(at));
        let (own, next) = match split.filter(|(_, uuid)| is_uuid(uuid)) {
            Some((own, uuid)) => (own, Some(uuid)),
            None => (field, None),
        };
        let own = own.trim_matches(|separator: char| separator == ',' || separator.is_ascii_whitespace());
        if let Some((number, thread)) = own.split_once('#') {
            let number = number.parse::<u64>().ok().filter(|_| !origin.is_empty() && thread.parse::<u64>().is_ok());
            let number = number.ok_or_else(|| malformed(text))?;
            position.insert_range(&Arc::from(&*origin), number, number);
        } else if next.is_none() && index > 0 && is_tag(own) {
            origin.truncate(UUID_BYTES);
            origin.extend([":", own]);
        } else if !own.is_empty() || (index > 0 && next.is_none()) {
            return Err(malformed(text));
        }
        if let Some(uuid) = next {
            origin = uuid.to_ascii_lowercase();
        }
    }
    Ok(position)
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(index, byte)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn is_tag(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

fn malformed(text: &str) -> Error {
    let start: String = text.chars().take(80).collect();
    Error::new(ErrorKind::Corrupt, format!("`{start}` is not the form of @@GLOBAL.gtid_owned"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const TWO: &str = "12345678-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn owned_transactions_are_read_with_any_separator() {
        for separator in ["", ",", ",\n", "\n"] {
            let text = format!("{ONE}:24#17:26#18{separator}{TWO}:7#1201{separator}{TWO}:sale:3#9\n");
            let position = parse_owned(&text).expect("owned transactions");
            let expected: Position = format!("{ONE}:24:26,{TWO}:7,{TWO}:sale:3").parse().expect("a position");
            assert_eq!(position, expected, "{text}");
        }
        assert!(parse_owned("").expect("nothing is committed").is_empty());
    }

    #[test]
    fn another_form_is_an_error_and_claims_nothing() {
        for wrong in
            ["x", "5#4", ":5#4", &format!("{ONE}:5"), &format!("{ONE}:5#"), &format!("{ONE}:a#1"), &format!("{ONE}:")]
        {
            parse_owned(wrong).expect_err(wrong);
        }
    }
}
