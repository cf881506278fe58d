//! Tokens of commits, for writers.

use cachefront_core::{Gtid, Position, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::error;
use crate::mariadb::position::parse_gtid;
use crate::position::logged;
use crate::rows_of::RowsOf;

/// Reads the GTID of the transaction that the previous statement of this connection committed. The Performance Schema
/// numbers what a connection does: the transaction must have ended right before this statement, which is still running, began.
/// So an older transaction is never taken for one that was not recorded, as those of XA are not. And the server must know
/// this connection by the number that it was greeted with: a proxy may send the statement over another connection.
const OWN_COMMIT: &str = "t.GTID FROM performance_schema.events_transactions_current t \
     JOIN performance_schema.events_statements_current s USING (THREAD_ID) \
     WHERE THREAD_ID = PS_CURRENT_THREAD_ID() AND s.NESTING_EVENT_LEVEL = 0 AND t.END_EVENT_ID = s.EVENT_ID - 1 \
     AND s.END_EVENT_ID IS NULL \
     AND t.STATE = 'COMMITTED' AND t.GTID LIKE '%:%' AND CONNECTION_ID() = ";

/// The transaction that this connection logged last, which MariaDB says without the Performance Schema.
const OWN_COMMIT_OF_MARIADB: &str = "@@last_gtid FROM DUAL WHERE CONNECTION_ID() = ";

/// Reads the token of all commits so far, for writers. Call it after COMMIT, on any connection to the same server.
///
/// A read with `at_least` of this token contains the write, and everything that the server had committed by then. The text
/// form is `token.to_string()`; it has a part for each server that ever was the primary. For the write alone see
/// [`own_commit_token`].
///
/// # Cancel safety
/// Cancel safe: mysql_async closes a connection whose query was dropped.
///
/// # Errors
/// `Unavailable` if the server cannot be queried; `Config` if it has no GTIDs.
pub async fn commit_token<Q: Queryable>(conn: &mut Q) -> Result<Position> {
    Ok(logged(conn).await?.0)
}

/// Reads the token of this connection's last commit. Call it right after COMMIT (or after a statement that commits by
/// itself), on the same connection, with no statement in between.
///
/// The token is one GTID, at most 90 bytes as text, however many servers there are, and it requires of a read no commit of
/// others. A session that commits several times takes a token after each commit and merges them with
/// [`Position::union`](cachefront_core::Position::union).
///
/// It is read from the Performance Schema, with its default settings, by a user who may read two of its tables:
///
/// ```sql
/// GRANT SELECT ON performance_schema.events_transactions_current TO app;
/// GRANT SELECT ON performance_schema.events_statements_current TO app;
/// ```
///
/// MariaDB says it by itself (`@@last_gtid`), without these rights; after a commit that changed nothing it says the connection's
/// commit before.
///
/// Where the server does not say which transaction this connection committed last (another statement came in between, the
/// commit was one of XA or changed nothing, the rights are missing, the Performance Schema does not record the connection, a proxy
/// shares connections),
/// it returns what [`commit_token`] does, which contains the write too.
///
/// ```no_run
/// # async fn run(pool: &cachefront::binlog::mysql_async::Pool) -> Result<(), Box<dyn std::error::Error>> {
/// use cachefront::Position;
/// use cachefront::binlog::own_commit_token;
/// use cachefront::binlog::mysql_async::prelude::Queryable;
///
/// // What this client has written, so far nothing.
/// let mut token = Position::new();
/// let mut conn = pool.get_conn().await?;
/// for statement in ["UPDATE users SET name = 'Ada' WHERE id = 7", "DELETE FROM orders WHERE user_id = 7"] {
///     conn.query_drop(statement).await?;
///     token.union(&own_commit_token(&mut conn).await?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// As [`commit_token`].
///
/// # Errors
/// As [`commit_token`].
pub async fn own_commit_token(conn: &mut Conn) -> Result<Position> {
    let id = conn.id();
    // A server of MySQL executes the first comment, one of MariaDB the second.
    let query = format!("SELECT /*!50700 {OWN_COMMIT}{id} */ /*M! {OWN_COMMIT_OF_MARIADB}{id} */");
    match conn.first_of::<Option<String>, _>(query).await.map(Option::flatten) {
        Ok(Some(last)) if last.contains(':') => last.parse(),
        Ok(Some(last)) if !last.is_empty() => of_mariadb(&last),
        Ok(_) | Err(mysql_async::Error::Server(_)) => commit_token(conn).await,
        Err(cause) => Err(error::query("reading the GTID of the last commit", cause)),
    }
}

/// The token of a transaction of MariaDB.
fn of_mariadb(gtid: &str) -> Result<Position> {
    let (origin, number) = parse_gtid(gtid)?;
    let mut position = Position::new();
    position.insert(&Gtid { origin, number });
    Ok(position)
}
