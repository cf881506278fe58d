//! The statements on `users`. Those on single rows also return the log's head, read in the same transaction.

use rusqlite::{Connection, ErrorCode, Row, Transaction, TransactionBehavior, params};

use super::file::head;
use crate::domain::{CHOSEN_ID_MAX, Seek, Status, User, UserInput, pattern, rfc3339_of};

/// What became of a new user.
pub(super) enum Created {
    /// The row, and the log's head.
    As(User, u64),
    IdTaken,
    NoIdLeft,
}

/// [`CHOSEN_ID_MAX`] as SQLite has it.
const ID_MAX: i64 = CHOSEN_ID_MAX.cast_signed();

pub(super) fn create(
    connection: &mut Connection,
    id: Option<i64>,
    input: &UserInput,
    now: &str,
) -> rusqlite::Result<Created> {
    let transaction = write(connection)?;
    if let Some(id) = id
        && one(&transaction, id)?.is_some()
    {
        return Ok(Created::IdTaken);
    }
    let inserted = transaction.execute(
        "INSERT INTO users (id, name, email, updated_at, status) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![id, input.name, input.email, now, input.status.unwrap_or_default().as_str()],
    );
    match inserted {
        // SQLite reports a full disk in both cases: no id left, or no space.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) && last_id(&transaction)? == i64::MAX => {
            return Ok(Created::NoIdLeft);
        }
        inserted => drop(inserted?),
    }
    if transaction.last_insert_rowid() > ID_MAX {
        // Rolled back: the next one is as it was.
        return Ok(Created::NoIdLeft);
    }
    let user = one(&transaction, transaction.last_insert_rowid())?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let seq = head(&transaction)?;
    transaction.commit()?;
    Ok(Created::As(user, seq))
}

/// Returns the largest id that was ever assigned.
fn last_id(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'users'", [], |row| row.get(0))
}

pub(super) fn update(
    connection: &mut Connection,
    id: i64,
    input: &UserInput,
    now: &str,
) -> rusqlite::Result<Option<(User, u64)>> {
    let transaction = write(connection)?;
    let changed = transaction.execute(
        "UPDATE users SET name = ?2, email = ?3, updated_at = ?4, status = ifnull(?5, status) WHERE id = ?1",
        params![id, input.name, input.email, now, input.status.map(Status::as_str)],
    )?;
    if changed == 0 {
        return Ok(None);
    }
    let user = one(&transaction, id)?;
    let seq = head(&transaction)?;
    transaction.commit()?;
    Ok(user.map(|user| (user, seq)))
}

pub(super) fn delete(connection: &mut Connection, id: i64) -> rusqlite::Result<Option<u64>> {
    let transaction = write(connection)?;
    if transaction.execute("DELETE FROM users WHERE id = ?1", [id])? == 0 {
        return Ok(None);
    }
    let seq = head(&transaction)?;
    transaction.commit()?;
    Ok(Some(seq))
}

pub(super) fn get(connection: &mut Connection, id: i64) -> rusqlite::Result<(Option<User>, u64)> {
    let transaction = read(connection)?;
    let seq = head(&transaction)?;
    Ok((one(&transaction, id)?, seq))
}

pub(super) fn get_by_email(connection: &mut Connection, email: &str) -> rusqlite::Result<(Option<User>, u64)> {
    let transaction = read(connection)?;
    let seq = head(&transaction)?;
    let user = transaction
        .prepare_cached("SELECT id, name, email, updated_at, status FROM users WHERE email = ?1")?
        .query([email])?
        .next()?
        .map(user)
        .transpose()?;
    Ok((user, seq))
}

pub(super) fn list(connection: &Connection, after: i64, limit: u32) -> rusqlite::Result<Vec<User>> {
    connection
        .prepare_cached("SELECT id, name, email, updated_at, status FROM users WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![after, limit], user)?
        .collect()
}

pub(super) fn find(connection: &Connection, text: &str, seek: Seek, limit: u32) -> rusqlite::Result<Vec<User>> {
    let (bound, order, id) = match seek {
        Seek::After(id) => ("id > ?1", "ASC", id),
        Seek::Before(id) => ("id < ?1", "DESC", id),
    };
    let statement = format!(
        "SELECT id, name, email, updated_at, status FROM users WHERE {bound}
         AND (name LIKE ?2 ESCAPE '!' OR email LIKE ?2 ESCAPE '!' OR CAST(id AS TEXT) = ?3)
         ORDER BY id {order} LIMIT ?4"
    );
    // No row has an id beyond what SQLite can hold.
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&statement)?;
    let mut found: Vec<User> =
        statement.query_map(params![id, pattern(text), text, limit], user)?.collect::<rusqlite::Result<_>>()?;
    found.sort_unstable_by_key(|user| user.id);
    Ok(found)
}

/// Takes the write lock at the start: a transaction that reads first and writes later may fail to get it.
fn write(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Begins a transaction that reads from one snapshot.
fn read(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Deferred)
}

fn one(connection: &Connection, id: i64) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached("SELECT id, name, email, updated_at, status FROM users WHERE id = ?1")?
        .query([id])?
        .next()?
        .map(user)
        .transpose()
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        name: row.get(1)?,
        email: row.get(2)?,
        updated_at: rfc3339_of(row.get(3)?),
        status: row.get(4)?,
    })
}
