//! The mode's row in `cachefront_settings`.

use rusqlite::{Connection, Row, TransactionBehavior, params};

use crate::domain::{HISTORY_MAX, Mode, ModeRow, mode_at_start};

const SELECT: &str = "SELECT value, changed_at, version, environment FROM cachefront_settings WHERE name = 'mode'";

struct Kept {
    row: ModeRow,
    environment: Option<Mode>,
}

pub(super) fn mode(connection: &Connection) -> rusqlite::Result<Option<ModeRow>> {
    Ok(kept(connection)?.map(|kept| kept.row))
}

pub(super) fn adopt_mode(
    connection: &mut Connection,
    environment: Option<Mode>,
    now: &str,
) -> rusqlite::Result<ModeRow> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let row = match kept(&transaction)? {
        None => make(&transaction, environment.unwrap_or(Mode::Cdc), environment, now)?,
        Some(kept) => {
            let mode = mode_at_start(kept.row.mode, kept.environment, environment);
            if let Some(environment) = environment {
                transaction.execute(
                    "UPDATE cachefront_settings SET environment = ?1 WHERE name = 'mode'",
                    [environment.as_str()],
                )?;
            }
            change(&transaction, kept.row, mode, now)?
        }
    };
    remember(&transaction, &row)?;
    transaction.commit()?;
    Ok(row)
}

/// Creates the row. Its version is above all earlier ones, so that the ETag of a row that was deleted never matches.
fn make(connection: &Connection, mode: Mode, environment: Option<Mode>, now: &str) -> rusqlite::Result<ModeRow> {
    let newest: i64 =
        connection.query_row("SELECT ifnull(max(version), 0) FROM cachefront_modes", [], |row| row.get(0))?;
    let version = newest.saturating_add(1);
    connection.execute(
        "INSERT INTO cachefront_settings (name, value, environment, version, changed_at)
         VALUES ('mode', ?1, ?2, ?3, ?4)",
        params![mode.as_str(), environment.map(Mode::as_str), version, now],
    )?;
    Ok(ModeRow { mode, changed_at: now.to_owned(), version: version.unsigned_abs() })
}

/// Returns `None` if the version is not one of `expected`.
pub(super) fn set_mode(
    connection: &mut Connection,
    mode: Mode,
    expected: Option<&[u64]>,
    now: &str,
) -> rusqlite::Result<Option<ModeRow>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let kept = match kept(&transaction)? {
        Some(kept) => kept.row,
        // Another program emptied the table.
        None => make(&transaction, mode, None, now)?,
    };
    if expected.is_some_and(|versions| !versions.contains(&kept.version)) {
        return Ok(None);
    }
    let row = change(&transaction, kept, mode, now)?;
    remember(&transaction, &row)?;
    transaction.commit()?;
    Ok(Some(row))
}

fn change(connection: &Connection, kept: ModeRow, mode: Mode, now: &str) -> rusqlite::Result<ModeRow> {
    if kept.mode == mode {
        return Ok(kept);
    }
    let version = kept.version + 1;
    connection.execute(
        "UPDATE cachefront_settings SET value = ?1, version = ?2, changed_at = ?3 WHERE name = 'mode'",
        params![mode.as_str(), i64::try_from(version).unwrap_or(i64::MAX), now],
    )?;
    Ok(ModeRow { mode, changed_at: now.to_owned(), version })
}

/// Returns the modes that were in force, the newest first.
pub(super) fn history(connection: &Connection) -> rusqlite::Result<Vec<ModeRow>> {
    let mut statement = connection
        .prepare_cached("SELECT mode, changed_at, version FROM cachefront_modes ORDER BY version DESC LIMIT ?1")?;
    let rows = statement.query_map([HISTORY_MAX], |row| {
        let (mode, changed_at, version): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(ModeRow { mode: mode.parse().unwrap_or(Mode::Cdc), changed_at, version: version.unsigned_abs() })
    })?;
    rows.collect()
}

fn remember(connection: &Connection, row: &ModeRow) -> rusqlite::Result<()> {
    let version = i64::try_from(row.version).unwrap_or(i64::MAX);
    connection.execute(
        "INSERT OR IGNORE INTO cachefront_modes (version, mode, changed_at) VALUES (?1, ?2, ?3)",
        params![version, row.mode.as_str(), row.changed_at],
    )?;
    let oldest = version.saturating_sub(i64::from(HISTORY_MAX));
    connection.execute("DELETE FROM cachefront_modes WHERE version <= ?1", [oldest])?;
    Ok(())
}

fn kept(connection: &Connection) -> rusqlite::Result<Option<Kept>> {
    connection.prepare_cached(SELECT)?.query([])?.next()?.map(from_row).transpose()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let mode: String = row.get(0)?;
    let environment: Option<String> = row.get(3)?;
    Ok(Kept {
        row: ModeRow {
            // A value that is no mode, because another program wrote it, counts as the default.
            mode: mode.parse().unwrap_or(Mode::Cdc),
            changed_at: row.get(1)?,
            version: row.get::<_, i64>(2)?.unsigned_abs(),
        },
        environment: environment.and_then(|text| text.parse().ok()),
    })
}
