//! Texts of any length in `cachefront_kept`, some of which expire. `now` is in seconds since 1970.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

pub(super) fn keep(
    connection: &mut Connection,
    name: &str,
    text: &str,
    expires: Option<i64>,
    now: i64,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("DELETE FROM cachefront_kept WHERE expires <= ?1", [now])?;
    transaction.execute(
        "INSERT INTO cachefront_kept (name, value, expires) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires = excluded.expires",
        params![name, text, expires],
    )?;
    transaction.commit()
}

pub(super) fn kept(connection: &Connection, name: &str, now: i64) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM cachefront_kept WHERE name = ?1 AND (expires IS NULL OR expires > ?2)")?
        .query_row(params![name, now], |row| row.get(0))
        .optional()
}

pub(super) fn names(connection: &Connection, prefix: &str, now: i64) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM cachefront_kept
         WHERE substr(name, 1, length(?1)) = ?1 AND (expires IS NULL OR expires > ?2)",
    )?;
    let rows = statement.query_map(params![prefix, now], |row| row.get(0))?;
    rows.collect()
}
