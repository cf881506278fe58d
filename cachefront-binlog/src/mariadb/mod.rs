//! MariaDB: its positions, its events, and when its commits are visible. Everything else is as on MySQL.

pub(crate) mod event;
pub(crate) mod position;
pub(crate) mod visible;

use cachefront_core::Gtid;
use mysql_async::prelude::Queryable;

use crate::rows_of::RowsOf;
use crate::wire::DriverResult;

/// Returns true if a connection leads to MariaDB: only that server executes such a comment. Versions do not tell it from MySQL,
/// whose numbers are those of years from 26 on.
pub(crate) async fn is_mariadb<Q: Queryable>(conn: &mut Q) -> DriverResult<bool> {
    Ok(conn.first_of::<u64, _>("SELECT /*M! 1 + */ 0").await?.is_some_and(|value| value != 0))
}

/// The SQL that sets a variable on the server that a transaction is of, for messages. MariaDB has none that also keeps it over a
/// restart.
pub(crate) fn set(gtid: Option<&Gtid>, name: &str, value: &str) -> String {
    match gtid.is_some_and(position::is_gtid) {
        true => format!("SET GLOBAL {name}={value} (and the same in the server's configuration file)"),
        false => format!("SET PERSIST {name}={value}"),
    }
}

/// Begins the identity of a server of MariaDB, which has no `server_uuid`.
pub(crate) const IDENTITY_PREFIX: &str = "mariadb-";
