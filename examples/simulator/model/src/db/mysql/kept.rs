//! Texts of any length in `cachefront_kept`, some of which expire.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

pub(super) async fn keep(
    connection: &mut Conn,
    name: &str,
    text: &str,
    expires: Option<u64>,
) -> mysql_async::Result<()> {
    connection.query_drop("DELETE FROM cachefront_kept WHERE expires <= UNIX_TIMESTAMP()").await?;
    connection
        .exec_drop("REPLACE INTO cachefront_kept (name, value, expires) VALUES (?, ?, ?)", (name, text, expires))
        .await
}

pub(super) async fn kept(connection: &mut Conn, name: &str) -> mysql_async::Result<Option<String>> {
    connection
        .exec_first(
            "SELECT value FROM cachefront_kept WHERE name = ? AND (expires IS NULL OR expires > UNIX_TIMESTAMP())",
            (name,),
        )
        .await
}

pub(super) async fn names(connection: &mut Conn, prefix: &str) -> mysql_async::Result<Vec<String>> {
    connection
        .exec(
            "SELECT name FROM cachefront_kept
             WHERE LEFT(name, CHAR_LENGTH(?)) = ? AND (expires IS NULL OR expires > UNIX_TIMESTAMP())",
            (prefix, prefix),
        )
        .await
}
