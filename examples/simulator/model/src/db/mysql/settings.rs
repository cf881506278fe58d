//! The mode's row in `cachefront_settings`.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Transaction, TxOpts};

use crate::domain::{HISTORY_MAX, Mode, ModeRow, mode_at_start};

const SELECT: &str = "SELECT value, DATE_FORMAT(changed_at, '%Y-%m-%dT%H:%i:%s.%fZ'), version, environment
    FROM cachefront_settings WHERE name = 'mode'";

/// The same, with a lock that makes other roles that start or switch wait.
const SELECT_FOR_UPDATE: &str = "SELECT value, DATE_FORMAT(changed_at, '%Y-%m-%dT%H:%i:%s.%fZ'), version, environment
    FROM cachefront_settings WHERE name = 'mode' FOR UPDATE";

type KeptRow = (String, String, u64, Option<String>);

pub(super) async fn mode(connection: &mut Conn) -> mysql_async::Result<Option<ModeRow>> {
    let kept: Option<KeptRow> = connection.query_first(SELECT).await?;
    Ok(kept.map(|kept| row(&kept)))
}

pub(super) async fn adopt_mode(connection: &mut Conn, environment: Option<Mode>) -> mysql_async::Result<ModeRow> {
    let present: Option<KeptRow> = connection.query_first(SELECT).await?;
    if present.is_none() {
        make(connection, environment.unwrap_or(Mode::Cdc), environment).await?;
    }
    let mut transaction = connection.start_transaction(TxOpts::default()).await?;
    let kept = kept(&mut transaction).await?;
    let environment_then = kept.3.as_deref().and_then(|text| text.parse().ok());
    let mode = mode_at_start(row(&kept).mode, environment_then, environment);
    if let Some(environment) = environment.filter(|now| environment_then != Some(*now)) {
        transaction
            .exec_drop("UPDATE cachefront_settings SET environment = ? WHERE name = 'mode'", (environment.as_str(),))
            .await?;
    }
    let changed = change(&mut transaction, row(&kept), mode).await?;
    remember(&mut transaction, changed.version).await?;
    transaction.commit().await?;
    Ok(changed)
}

/// Creates the row. Its version is above all earlier ones, so that the ETag of a row that was deleted never matches. If
/// several roles start at once, one of them creates it.
async fn make(connection: &mut impl Queryable, mode: Mode, environment: Option<Mode>) -> mysql_async::Result<()> {
    connection
        .exec_drop(
            "INSERT IGNORE INTO cachefront_settings (name, value, environment, version, changed_at)
             SELECT 'mode', ?, ?, COALESCE(MAX(version), 0) + 1, CURRENT_TIMESTAMP(6) FROM cachefront_modes",
            (mode.as_str(), environment.map(Mode::as_str)),
        )
        .await
}

/// Returns `None` if the version is not one of `expected`.
pub(super) async fn set_mode(
    connection: &mut Conn,
    mode: Mode,
    expected: Option<&[u64]>,
) -> mysql_async::Result<Option<ModeRow>> {
    let mut transaction = connection.start_transaction(TxOpts::default()).await?;
    let present: Option<KeptRow> = transaction.query_first(SELECT_FOR_UPDATE).await?;
    if present.is_none() {
        // Another program emptied the table.
        make(&mut transaction, mode, None).await?;
    }
    let kept = row(&kept(&mut transaction).await?);
    if expected.is_some_and(|versions| !versions.contains(&kept.version)) {
        transaction.rollback().await?;
        return Ok(None);
    }
    let changed = change(&mut transaction, kept, mode).await?;
    remember(&mut transaction, changed.version).await?;
    transaction.commit().await?;
    Ok(Some(changed))
}

async fn change(transaction: &mut Transaction<'_>, kept: ModeRow, mode: Mode) -> mysql_async::Result<ModeRow> {
    if kept.mode == mode {
        return Ok(kept);
    }
    transaction
        .exec_drop(
            "UPDATE cachefront_settings SET value = ?, version = version + 1, changed_at = CURRENT_TIMESTAMP(6)
             WHERE name = 'mode'",
            (mode.as_str(),),
        )
        .await?;
    let changed: Option<KeptRow> = transaction.query_first(SELECT).await?;
    changed.map(|kept| row(&kept)).ok_or_else(gone)
}

/// Returns the modes that were in force, the newest first.
pub(super) async fn history(connection: &mut Conn) -> mysql_async::Result<Vec<ModeRow>> {
    connection
        .exec_map(
            "SELECT mode, DATE_FORMAT(changed_at, '%Y-%m-%dT%H:%i:%s.%fZ'), version FROM cachefront_modes
             ORDER BY version DESC LIMIT ?",
            (HISTORY_MAX,),
            |(mode, changed_at, version): (String, String, u64)| ModeRow {
                mode: mode.parse().unwrap_or(Mode::Cdc),
                changed_at,
                version,
            },
        )
        .await
}

/// Adds the current row to the history, unless it is there already.
async fn remember(transaction: &mut Transaction<'_>, version: u64) -> mysql_async::Result<()> {
    transaction
        .query_drop(
            "INSERT IGNORE INTO cachefront_modes (version, mode, changed_at)
             SELECT version, value, changed_at FROM cachefront_settings WHERE name = 'mode'",
        )
        .await?;
    let oldest = version.saturating_sub(u64::from(HISTORY_MAX));
    transaction.exec_drop("DELETE FROM cachefront_modes WHERE version <= ?", (oldest,)).await
}

async fn kept(transaction: &mut Transaction<'_>) -> mysql_async::Result<KeptRow> {
    transaction.query_first(SELECT_FOR_UPDATE).await?.ok_or_else(gone)
}

fn gone() -> mysql_async::Error {
    mysql_async::Error::Other("the mode's row in cachefront_settings is gone".into())
}

fn row((mode, changed_at, version, _): &KeptRow) -> ModeRow {
    // A value that is no mode, because another program wrote it, counts as the default.
    let mode = mode.parse().unwrap_or(Mode::Cdc);
    ModeRow { mode, changed_at: changed_at.clone(), version: *version }
}
