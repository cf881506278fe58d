//! MariaDB: its positions, its events, and when its commits are visible. Everything else is as on MySQL.

pub(crate) mod event;
pub(crate) mod position;
pub(crate) mod visible;

use mysql_async::Conn;

/// Returns true if a connection leads to MariaDB, whose versions begin at 10; those of MySQL are lower.
pub(crate) fn is_mariadb(conn: &Conn) -> bool {
    conn.server_version().0 >= 10
}

/// Begins the identity of a server of MariaDB, which has no `server_uuid`.
pub(crate) const IDENTITY_PREFIX: &str = "mariadb-";
