//! Notes in `cachefront_settings`, and the audit list.

use rusqlite::{Connection, TransactionBehavior, params};

use crate::domain::{AUDIT_LISTED_MAX, AuditEntry, HISTORY_MAX, Note};

pub(super) fn note(connection: &Connection, name: &str) -> rusqlite::Result<Option<Note>> {
    let mut statement = connection.prepare_cached("SELECT value, version FROM cachefront_settings WHERE name = ?1")?;
    let mut rows = statement.query([name])?;
    match rows.next()? {
        Some(row) => Ok(Some(Note { text: row.get(0)?, version: row.get::<_, i64>(1)?.unsigned_abs() })),
        None => Ok(None),
    }
}

/// Returns `None` if the version is not the expected one.
pub(super) fn set_note(
    connection: &mut Connection,
    name: &str,
    text: &str,
    expected: Option<u64>,
    now: &str,
) -> rusqlite::Result<Option<Note>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let kept = note(&transaction, name)?.map_or(0, |note| note.version);
    if expected.is_some_and(|expected| expected != kept) {
        return Ok(None);
    }
    let version = kept + 1;
    transaction.execute(
        "INSERT INTO cachefront_settings (name, value, version, changed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, version = excluded.version,
             changed_at = excluded.changed_at",
        params![name, text, i64::try_from(version).unwrap_or(i64::MAX), now],
    )?;
    transaction.commit()?;
    Ok(Some(Note { text: text.to_owned(), version }))
}

pub(super) fn add_audit(connection: &mut Connection, entry: &AuditEntry) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "INSERT INTO cachefront_audit (at, who, what, result) VALUES (?1, ?2, ?3, ?4)",
        params![entry.at, entry.who, entry.what, entry.result],
    )?;
    transaction.execute(
        "DELETE FROM cachefront_audit WHERE id IN (
             SELECT id FROM cachefront_audit
             WHERE (result = 'ok') = (?1 = 'ok') AND (?1 <> 'ok' OR who = ?2)
             ORDER BY id DESC LIMIT -1 OFFSET ?3)",
        params![entry.result, entry.who, HISTORY_MAX],
    )?;
    transaction.commit()
}

pub(super) fn audit(connection: &Connection) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut statement =
        connection.prepare_cached("SELECT at, who, what, result FROM cachefront_audit ORDER BY id DESC LIMIT ?1")?;
    let rows = statement.query_map([AUDIT_LISTED_MAX], |row| {
        Ok(AuditEntry { at: row.get(0)?, who: row.get(1)?, what: row.get(2)?, result: row.get(3)? })
    })?;
    rows.collect()
}
