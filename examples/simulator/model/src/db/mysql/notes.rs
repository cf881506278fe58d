//! Notes in `cachefront_settings`, and the audit list.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};

use crate::domain::{AUDIT_LISTED_MAX, AuditEntry, HISTORY_MAX, Note};

pub(super) async fn note(connection: &mut Conn, name: &str) -> mysql_async::Result<Option<Note>> {
    let kept: Option<(String, u64)> =
        connection.exec_first("SELECT value, version FROM cachefront_settings WHERE name = ?", (name,)).await?;
    Ok(kept.map(|(text, version)| Note { text, version }))
}

/// Returns `None` if the version is not the expected one.
pub(super) async fn set_note(
    connection: &mut Conn,
    name: &str,
    text: &str,
    expected: Option<u64>,
) -> mysql_async::Result<Option<Note>> {
    // If several processes find the note missing, one of them creates it, with version 0 until it has its text.
    if note(connection, name).await?.is_none() {
        connection
            .exec_drop(
                "INSERT IGNORE INTO cachefront_settings (name, value, version, changed_at)
                 VALUES (?, '', 0, CURRENT_TIMESTAMP(6))",
                (name,),
            )
            .await?;
    }
    let mut transaction = connection.start_transaction(TxOpts::default()).await?;
    let kept: Option<u64> =
        transaction.exec_first("SELECT version FROM cachefront_settings WHERE name = ? FOR UPDATE", (name,)).await?;
    let kept = kept.unwrap_or_default();
    if expected.is_some_and(|expected| expected != kept) {
        transaction.rollback().await?;
        return Ok(None);
    }
    transaction
        .exec_drop(
            "UPDATE cachefront_settings SET value = ?, version = version + 1, changed_at = CURRENT_TIMESTAMP(6)
             WHERE name = ?",
            (text, name),
        )
        .await?;
    transaction.commit().await?;
    Ok(Some(Note { text: text.to_owned(), version: kept + 1 }))
}

pub(super) async fn add_audit(connection: &mut Conn, who: &str, what: &str, result: &str) -> mysql_async::Result<()> {
    connection
        .exec_drop(
            "INSERT INTO cachefront_audit (at, who, what, result) VALUES (CURRENT_TIMESTAMP(6), ?, ?, ?)",
            (who, what, result),
        )
        .await?;
    let oldest: Option<u64> = connection
        .exec_first(
            "SELECT id FROM cachefront_audit WHERE (result = 'ok') = (? = 'ok') AND (? <> 'ok' OR who = ?)
             ORDER BY id DESC LIMIT 1 OFFSET ?",
            (result, result, who, HISTORY_MAX),
        )
        .await?;
    let Some(oldest) = oldest else { return Ok(()) };
    connection
        .exec_drop(
            "DELETE FROM cachefront_audit WHERE id <= ? AND (result = 'ok') = (? = 'ok') AND (? <> 'ok' OR who = ?)",
            (oldest, result, result, who),
        )
        .await
}

pub(super) async fn audit(connection: &mut Conn) -> mysql_async::Result<Vec<AuditEntry>> {
    connection
        .exec_map(
            "SELECT DATE_FORMAT(at, '%Y-%m-%dT%H:%i:%s.%fZ'), who, what, result FROM cachefront_audit
             ORDER BY id DESC LIMIT ?",
            (AUDIT_LISTED_MAX,),
            |(at, who, what, result)| AuditEntry { at, who, what, result },
        )
        .await
}
