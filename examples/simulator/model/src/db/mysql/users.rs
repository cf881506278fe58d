//! The statements on `users`.

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Row, TxOpts};

use super::executed::written;
use crate::domain::{CHOSEN_ID_MAX, Seek, Status, User, UserInput, Written, pattern};

/// A user's columns. The session's time zone is UTC.
const COLUMNS: &str = "id, name, email, DATE_FORMAT(updated_at, '%Y-%m-%dT%H:%i:%s.%fZ'), status";

impl FromRow for User {
    fn from_row_opt(row: Row) -> Result<Self, FromRowError> {
        let (id, name, email, updated_at, status) = FromRow::from_row_opt(row)?;
        Ok(Self { id, name, email, updated_at, status })
    }
}

/// Returns `None` if the id would be above [`CHOSEN_ID_MAX`]: then nothing was added.
pub(super) async fn create(
    connection: &mut Conn,
    id: Option<u64>,
    input: &UserInput,
) -> mysql_async::Result<Option<Written<User>>> {
    let mut transaction = connection.start_transaction(TxOpts::default()).await?;
    let insert = "INSERT INTO users (id, name, email, status) VALUES (?, ?, ?, ?)";
    let status = input.status.unwrap_or_default().as_str();
    transaction.exec_drop(insert, (id, &input.name, &input.email, status)).await?;
    // The server names only an id that it has assigned.
    let id = id.or(transaction.last_insert_id()).unwrap_or_default();
    if id > CHOSEN_ID_MAX {
        transaction.rollback().await?;
        return Ok(None);
    }
    let user = transaction.exec_first(format!("SELECT {COLUMNS} FROM users WHERE id = ?"), (id,)).await?;
    let executed = executed(&mut transaction).await?;
    transaction.commit().await?;
    let user: User = user.ok_or_else(|| mysql_async::Error::Other("the row just inserted is not there".into()))?;
    Ok(Some(written(connection, user, &executed).await))
}

pub(super) async fn update(
    connection: &mut Conn,
    id: u64,
    input: &UserInput,
) -> mysql_async::Result<Option<Written<User>>> {
    let mut transaction = connection.start_transaction(TxOpts::default()).await?;
    transaction
        .exec_drop(
            "UPDATE users SET name = ?, email = ?, status = COALESCE(?, status), updated_at = CURRENT_TIMESTAMP(6) WHERE id = ?",
            (&input.name, &input.email, input.status.map(Status::as_str), id),
        )
        .await?;
    let user: Option<User> = transaction.exec_first(format!("SELECT {COLUMNS} FROM users WHERE id = ?"), (id,)).await?;
    let Some(user) = user else {
        transaction.rollback().await?;
        return Ok(None);
    };
    let executed = executed(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Some(written(connection, user, &executed).await))
}

pub(super) async fn delete(connection: &mut Conn, id: u64) -> mysql_async::Result<Option<Written<()>>> {
    let executed = executed(connection).await?;
    connection.exec_drop("DELETE FROM users WHERE id = ?", (id,)).await?;
    if connection.affected_rows() == 0 {
        return Ok(None);
    }
    Ok(Some(written(connection, (), &executed).await))
}

pub(super) async fn one(connection: &mut Conn, id: u64) -> mysql_async::Result<Option<User>> {
    connection.exec_first(format!("SELECT {COLUMNS} FROM users WHERE id = ?"), (id,)).await
}

pub(super) async fn by_email(connection: &mut Conn, email: &str) -> mysql_async::Result<Option<User>> {
    connection.exec_first(format!("SELECT {COLUMNS} FROM users WHERE email = ?"), (email,)).await
}

pub(super) async fn list(connection: &mut Conn, after: u64, limit: u32) -> mysql_async::Result<Vec<User>> {
    connection.exec(format!("SELECT {COLUMNS} FROM users WHERE id > ? ORDER BY id LIMIT ?"), (after, limit)).await
}

/// `!` escapes the pattern's special characters, whatever the server's SQL mode says about backslashes. Addresses are
/// compared without regard to case, as names are. No index helps, so the time is limited: the search fails on a table
/// that is too large for it.
pub(super) async fn find(connection: &mut Conn, text: &str, seek: Seek, limit: u32) -> mysql_async::Result<Vec<User>> {
    let pattern = pattern(text);
    let (bound, order, id) = match seek {
        Seek::After(id) => ("id > ?", "ASC", id),
        Seek::Before(id) => ("id < ?", "DESC", id),
    };
    let statement = format!(
        "SELECT /*+ MAX_EXECUTION_TIME(1000) */ {COLUMNS} FROM users WHERE {bound}
         AND (name LIKE ? ESCAPE '!' OR email COLLATE utf8mb4_0900_ai_ci LIKE ? ESCAPE '!' OR CAST(id AS CHAR) = ?)
         ORDER BY id {order} LIMIT ?"
    );
    let mut found: Vec<User> = connection.exec(statement, (id, &pattern, &pattern, text, limit)).await?;
    found.sort_unstable_by_key(|user| user.id);
    Ok(found)
}

/// Returns what the server has executed before this write is committed.
async fn executed(connection: &mut impl Queryable) -> mysql_async::Result<String> {
    Ok(connection.query_first("SELECT @@GLOBAL.gtid_executed").await?.unwrap_or_default())
}
