//! MySQL: the same tables, with GTIDs as positions.

mod connect;
mod error;
mod executed;
mod kept;
mod notes;
mod settings;
mod users;

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
pub use connect::{connect, database_name, options};
use executed::stand;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Pool};

use crate::domain::{
    AuditEntry, Connections, Database, DbError, Mode, ModeRow, Note, Seek, Seen, User, UserInput, Written,
};

/// A statement that takes longer means that the database is unavailable.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// MySQL through a pool of connections.
#[derive(Debug)]
pub struct Mysql {
    pool: Pool,
    database: String,
}

impl Mysql {
    /// # Errors
    /// If tables cannot be read or created.
    pub async fn open(pool: Pool, database: String) -> Result<Self, DbError> {
        let mysql = Self { pool, database };
        mysql.run(async |connection: &mut Conn| connect::install(connection).await).await?;
        Ok(mysql)
    }

    async fn run<T>(&self, work: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>) -> Result<T, DbError> {
        within(async {
            let mut connection = self.pool.get_conn().await?;
            work(&mut connection).await
        })
        .await
    }
}

/// Bounds the wait for a server that does not respond.
async fn within<T>(work: impl Future<Output = mysql_async::Result<T>>) -> Result<T, DbError> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => Err(error::classify(failure)),
        Err(elapsed) => Err(DbError::Unavailable(elapsed.into())),
    }
}

#[async_trait]
impl Database for Mysql {
    fn users_table(&self) -> String {
        format!("{}.users", self.database)
    }

    async fn create(&self, id: Option<u64>, input: &UserInput) -> Result<Written<User>, DbError> {
        match self.run(async |connection: &mut Conn| users::create(connection, id, input).await).await {
            // Some servers assign the last id again and again.
            Err(DbError::IdTaken) if id.is_none() => Err(DbError::NoIdLeft),
            created => created?.ok_or(DbError::NoIdLeft),
        }
    }

    async fn update(&self, id: u64, input: &UserInput) -> Result<Option<Written<User>>, DbError> {
        self.run(async |connection: &mut Conn| users::update(connection, id, input).await).await
    }

    async fn delete(&self, id: u64) -> Result<Option<Written<()>>, DbError> {
        self.run(async |connection: &mut Conn| users::delete(connection, id).await).await
    }

    async fn get(&self, id: u64) -> Result<Seen<Option<User>>, DbError> {
        self.run(async |connection: &mut Conn| {
            let (position, origin) = stand(connection).await?;
            Ok(Seen { value: users::one(connection, id).await?, position, origin: Some(origin) })
        })
        .await
    }

    async fn get_by_email(&self, email: &str) -> Result<Seen<Option<User>>, DbError> {
        self.run(async |connection: &mut Conn| {
            let (position, origin) = stand(connection).await?;
            Ok(Seen { value: users::by_email(connection, email).await?, position, origin: Some(origin) })
        })
        .await
    }

    async fn list(&self, after: u64, limit: u32) -> Result<Vec<User>, DbError> {
        self.run(async |connection: &mut Conn| users::list(connection, after, limit).await).await
    }

    async fn find(&self, text: &str, seek: Seek, limit: u32) -> Result<Vec<User>, DbError> {
        self.run(async |connection: &mut Conn| users::find(connection, text, seek, limit).await).await
    }

    async fn mode(&self) -> Result<ModeRow, DbError> {
        match self.run(async |connection: &mut Conn| settings::mode(connection).await).await? {
            Some(row) => Ok(row),
            // Another program emptied the table: the row is created again.
            None => self.adopt_mode(None).await,
        }
    }

    async fn adopt_mode(&self, environment: Option<Mode>) -> Result<ModeRow, DbError> {
        self.run(async |connection: &mut Conn| settings::adopt_mode(connection, environment).await).await
    }

    async fn set_mode(&self, mode: Mode, expected: Option<&[u64]>) -> Result<ModeRow, DbError> {
        self.run(async |connection: &mut Conn| settings::set_mode(connection, mode, expected).await)
            .await?
            .ok_or(DbError::VersionMismatch)
    }

    async fn mode_history(&self) -> Result<Vec<ModeRow>, DbError> {
        self.run(async |connection: &mut Conn| settings::history(connection).await).await
    }

    async fn note(&self, name: &str) -> Result<Option<Note>, DbError> {
        self.run(async |connection: &mut Conn| notes::note(connection, name).await).await
    }

    async fn set_note(&self, name: &str, text: &str, expected: Option<u64>) -> Result<Note, DbError> {
        self.run(async |connection: &mut Conn| notes::set_note(connection, name, text, expected).await)
            .await?
            .ok_or(DbError::VersionMismatch)
    }

    async fn add_audit(&self, entry: &AuditEntry) -> Result<(), DbError> {
        self.run(async |connection: &mut Conn| notes::add_audit(connection, entry).await).await
    }

    async fn audit(&self) -> Result<Vec<AuditEntry>, DbError> {
        self.run(async |connection: &mut Conn| notes::audit(connection).await).await
    }

    fn connections(&self) -> Connections {
        let pool = self.pool.metrics();
        let now = |count: &std::sync::atomic::AtomicUsize| count.load(std::sync::atomic::Ordering::Relaxed);
        Connections {
            in_use: now(&pool.connections_in_use),
            idle: now(&pool.connections_in_pool),
            waiting: now(&pool.active_wait_requests),
        }
    }

    async fn keep(&self, name: &str, text: &str, expires: Option<u64>) -> Result<(), DbError> {
        self.run(async |connection: &mut Conn| kept::keep(connection, name, text, expires).await).await
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, DbError> {
        self.run(async |connection: &mut Conn| kept::kept(connection, name).await).await
    }

    async fn kept_names(&self, prefix: &str) -> Result<Vec<String>, DbError> {
        self.run(async |connection: &mut Conn| kept::names(connection, prefix).await).await
    }

    async fn ping(&self) -> Result<(), DbError> {
        self.run(async |connection: &mut Conn| connection.query_drop("SELECT 1 FROM users LIMIT 1").await).await
    }
}
