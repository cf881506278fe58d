//! Notes in `cachefront_settings`, and the audit list.

use rusqlite::{Connection, TransactionBehavior, params};

use crate::domain::{ADDRESS, ADDRESSES_MAX, AUDIT_LISTED_MAX, AuditEntry, Note};

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
    if !(entry.is_refusal() && count_again(&transaction, entry)?) {
        transaction.execute(
            "INSERT INTO cachefront_audit (at, who, what, result, times) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![entry.at, entry.who, entry.what, entry.result, times(entry)],
        )?;
    }
    transaction.execute(
        "DELETE FROM cachefront_audit WHERE id IN (
             SELECT id FROM cachefront_audit WHERE who = ?1 AND (result <> 'ok') = ?2
             ORDER BY at DESC, id DESC LIMIT -1 OFFSET ?3)",
        params![entry.who, entry.is_refusal(), entry.kept_max()],
    )?;
    transaction.execute(
        "DELETE FROM cachefront_audit WHERE who IN (
             SELECT who FROM cachefront_audit WHERE substr(who, 1, length(?1)) = ?1
             GROUP BY who ORDER BY max(at) DESC, max(id) DESC LIMIT -1 OFFSET ?2)",
        params![ADDRESS, ADDRESSES_MAX],
    )?;
    transaction.commit()
}

/// Counts a refusal in the entry that the list has of it. Returns false if there is none.
fn count_again(connection: &Connection, entry: &AuditEntry) -> rusqlite::Result<bool> {
    let counted = connection.execute(
        "UPDATE cachefront_audit SET at = ?1, times = times + ?2 WHERE id = (
             SELECT id FROM cachefront_audit WHERE who = ?3 AND what = ?4 AND result = ?5
             ORDER BY at DESC, id DESC LIMIT 1)",
        params![entry.at, times(entry), entry.who, entry.what, entry.result],
    )?;
    Ok(counted > 0)
}

fn times(entry: &AuditEntry) -> i64 {
    i64::try_from(entry.times).unwrap_or(i64::MAX)
}

pub(super) fn audit(connection: &Connection) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT at, who, what, result, times FROM cachefront_audit ORDER BY at DESC, id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([AUDIT_LISTED_MAX], |row| {
        let times = row.get::<_, i64>(4)?.unsigned_abs();
        Ok(AuditEntry { at: row.get(0)?, who: row.get(1)?, what: row.get(2)?, result: row.get(3)?, times })
    })?;
    rows.collect()
}
