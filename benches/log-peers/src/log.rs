//! The log that all readers read: inserts and updates of one table, alone in a file.

use cachefront::binlog::read_position;
use cachefront::event::TableName;
use cachefront::source::Checkpoint;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};

use crate::failure::Failure;

/// Rows of each statement, which is a transaction.
const ROWS_PER_TRANSACTION: u64 = 100;

/// A file of the binary log.
pub(crate) struct Log {
    pub(crate) url: String,
    pub(crate) opts: Opts,
    pub(crate) database: String,
    /// Its name, and where the changes begin in it.
    pub(crate) file: String,
    pub(crate) offset: u32,
    pub(crate) before: Checkpoint,
    pub(crate) changes: u64,
}

impl Log {
    /// Writes a log of `rows` inserts and as many updates to the server of `CACHEFRONT_MYSQL_URL`.
    pub(crate) async fn write(rows: u64) -> Result<Self, Failure> {
        let url = std::env::var("CACHEFRONT_MYSQL_URL")
            .map_err(|_| "CACHEFRONT_MYSQL_URL is not set: eval \"$(cargo xtask stack env)\"")?;
        let opts = Opts::from_url(&url)?;
        let database = format!("log_peers_{}", std::process::id());
        let mut conn = Conn::new(opts.clone()).await?;
        conn.query_drop(format!("CREATE DATABASE {database}")).await?;
        conn.query_drop(format!(
            "CREATE TABLE {database}.user (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(255) NOT NULL, \
             email VARCHAR(255) NOT NULL, updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))"
        ))
        .await?;
        conn.query_drop("FLUSH BINARY LOGS").await?;
        let status: mysql_async::Row = conn.query_first("SHOW BINARY LOG STATUS").await?.ok_or("the log is off")?;
        let (file, offset) = (status.get(0).ok_or("no file")?, status.get(1).ok_or("no offset")?);
        let (position, _) = read_position(&mut conn).await?;
        for first in (0..rows).step_by(ROWS_PER_TRANSACTION as usize) {
            let last = rows.min(first + ROWS_PER_TRANSACTION) - 1;
            let values: Vec<String> =
                (first..=last).map(|id| format!("({id},'user number {id}','user-{id}@example.org',DEFAULT)")).collect();
            conn.query_drop(format!("INSERT INTO {database}.user VALUES {}", values.join(","))).await?;
            let update =
                format!("UPDATE {database}.user SET name = CONCAT(name, '!') WHERE id BETWEEN {first} AND {last}");
            conn.query_drop(update).await?;
        }
        conn.query_drop("FLUSH BINARY LOGS").await?;
        conn.disconnect().await?;
        let before = Checkpoint { position, ..Checkpoint::default() };
        Ok(Self { url, opts, database, file, offset, before, changes: 2 * rows })
    }

    pub(crate) fn table(&self) -> TableName {
        TableName::new(&self.database, "user")
    }

    /// Removes the database.
    pub(crate) async fn remove(&self) -> Result<(), Failure> {
        let mut conn = Conn::new(self.opts.clone()).await?;
        conn.query_drop(format!("DROP DATABASE {}", self.database)).await?;
        Ok(conn.disconnect().await?)
    }
}
