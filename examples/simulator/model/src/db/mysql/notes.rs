//! Notes in `cachefront_settings`, and the audit list.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};

use crate::domain::{ADDRESS, ADDRESSES_MAX, AUDIT_LISTED_MAX, AuditEntry, Note};

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

pub(super) async fn add_audit(connection: &mut Conn, entry: &AuditEntry) -> mysql_async::Result<()> {
    let AuditEntry { who, what, result, times, .. } = entry;
    if !(entry.is_refusal() && count_again(connection, entry).await?) {
        connection
            .exec_drop(
                "INSERT INTO cachefront_audit (at, who, what, result, times) VALUES (CURRENT_TIMESTAMP(6), ?, ?, ?, ?)",
                (who, what, result, times),
            )
            .await?;
    }
    // What is to be deleted is read first: the statements that delete lock rows, and are rarely needed.
    let old: Vec<u64> = connection
        .exec(
            "SELECT id FROM cachefront_audit WHERE who = ? AND (result <> 'ok') = ?
             ORDER BY at DESC, id DESC LIMIT 1000 OFFSET ?",
            (who, entry.is_refusal(), entry.kept_max()),
        )
        .await?;
    let addresses: Vec<String> = connection
        .exec(
            "SELECT who FROM cachefront_audit WHERE who LIKE CONCAT(?, '%') GROUP BY who
             ORDER BY MAX(at) DESC, MAX(id) DESC LIMIT 1000 OFFSET ?",
            (ADDRESS, ADDRESSES_MAX),
        )
        .await?;
    for id in old {
        connection.exec_drop("DELETE FROM cachefront_audit WHERE id = ?", (id,)).await?;
    }
    for address in addresses {
        connection.exec_drop("DELETE FROM cachefront_audit WHERE who = ?", (address,)).await?;
    }
    Ok(())
}

/// Counts a refusal in the entry that the list has of it. Returns false if there is none. The texts are compared byte by byte: the
/// columns' collation takes different names for the same.
async fn count_again(connection: &mut Conn, entry: &AuditEntry) -> mysql_async::Result<bool> {
    let AuditEntry { who, what, result, times, .. } = entry;
    connection
        .exec_drop(
            "UPDATE cachefront_audit SET at = CURRENT_TIMESTAMP(6), times = times + ?
             WHERE who = ? AND CAST(what AS BINARY) = CAST(? AS BINARY) AND CAST(result AS BINARY) = CAST(? AS BINARY)
             ORDER BY at DESC, id DESC LIMIT 1",
            (times, who, what, result),
        )
        .await?;
    Ok(connection.affected_rows() > 0)
}

pub(super) async fn audit(connection: &mut Conn) -> mysql_async::Result<Vec<AuditEntry>> {
    connection
        .exec_map(
            "SELECT DATE_FORMAT(at, '%Y-%m-%dT%H:%i:%s.%fZ'), who, what, result, times FROM cachefront_audit
             ORDER BY cachefront_audit.at DESC, id DESC LIMIT ?",
            (AUDIT_LISTED_MAX,),
            |(at, who, what, result, times)| AuditEntry { at, who, what, result, times },
        )
        .await
}
