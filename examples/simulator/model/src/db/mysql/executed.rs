//! What the server has executed: positions of reads and of writes.

use cachefront::Position;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::domain::Written;

/// Returns what the server has executed, and the server's UUID. To be read before the row, on the same connection.
pub(super) async fn stand(connection: &mut Conn) -> mysql_async::Result<(Option<Position>, Box<str>)> {
    let row: Option<(String, String)> =
        connection.query_first("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.server_uuid").await?;
    let (executed, server) = row.unwrap_or_default();
    Ok((executed_set(&executed), server.into()))
}

/// Parses a set as the server prints it. It may exceed the limit for input from outside, so it is parsed part by part.
fn executed_set(text: &str) -> Option<Position> {
    let mut set = Position::new();
    for part in text.split(',') {
        set.union(&part.parse().ok()?);
    }
    Some(set)
}

/// Returns a committed write with the GTIDs that its server executed between `executed_before` and now; its own is
/// among them.
pub(super) async fn written<T>(connection: &mut Conn, value: T, executed_before: &str) -> Written<T> {
    let added = connection
        .exec_first::<String, _, _>("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, ?)", (executed_before,))
        .await;
    let token = match added {
        Ok(Some(text)) => executed_set(&text).filter(|position| !position.is_empty()),
        Ok(None) => None,
        Err(failure) => {
            // The write is committed: returned without a token rather than as a failure.
            tracing::warn!(error = %failure, "the position of a commit cannot be read");
            None
        }
    };
    Written { value, token }
}
