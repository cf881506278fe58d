//! What private servers of MySQL and MariaDB have in common.

use std::path::{Path, PathBuf};

use cachefront_stack::mysql::{ADMIN, ADMIN_PASSWORD};
use mysql_async::{Conn, OptsBuilder, Row, prelude::Queryable};

/// Connects as the user who may do everything.
pub(super) async fn try_connect(port: u16) -> mysql_async::Result<Conn> {
    let opts = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(ADMIN))
        .pass(Some(ADMIN_PASSWORD))
        .prefer_socket(false);
    Conn::new(opts).await
}

/// The data directory below a server's folder.
pub(super) fn data_of(dir: &Path) -> PathBuf {
    dir.join("data")
}

pub(super) fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

/// Begins a new binary log, and returns its name.
pub(super) async fn rotate_binlog(conn: &mut Conn) -> String {
    conn.query_drop("FLUSH BINARY LOGS").await.expect("the log can be rotated");
    let logs = binlogs(conn).await;
    logs.last().and_then(|row| row.get(0)).expect("a server has at least one log")
}

/// Removes all binary logs before `newest` that the server does not need. Returns the number of those that are left.
pub(super) async fn purge_binlogs(conn: &mut Conn, newest: &str) -> usize {
    conn.query_drop(format!("PURGE BINARY LOGS TO '{newest}'")).await.expect("the logs can be purged");
    binlogs(conn).await.len()
}

async fn binlogs(conn: &mut Conn) -> Vec<Row> {
    conn.query("SHOW BINARY LOGS").await.expect("the logs can be listed")
}
