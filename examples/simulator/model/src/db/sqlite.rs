//! The embedded database: one SQLite file in WAL mode, whose triggers write every change into a log table.

mod file;
mod kept;
mod notes;
mod settings;
#[cfg(test)]
mod tests;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use cachefront::{Clock, Position};
pub use file::{SqliteFile, head, install, position_of};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use self::users::Created;
use crate::domain::{
    AuditEntry, Connections, Database, DbError, Mode, ModeRow, Note, Seek, Seen, User, UserInput, Written, rfc3339,
};

/// Maximum number of concurrent reads; WAL lets them run next to the one writer.
const READERS: usize = 4;

/// The embedded database.
#[derive(Debug)]
pub struct Sqlite {
    file: SqliteFile,
    /// For this process's writes; SQLite itself arbitrates between processes.
    writer: Pool,
    readers: Pool,
    clock: Arc<dyn Clock>,
}

impl Sqlite {
    /// Opens the file in `directory`, or creates it.
    ///
    /// # Errors
    /// [`DbError::Failed`] if the directory or the file cannot be used.
    pub fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, DbError> {
        let file = SqliteFile::create(directory)?;
        let writer = Pool::new(vec![file.connect()?]);
        let readers = Pool::new((0..READERS).map(|_| file.connect()).collect::<Result<_, _>>()?);
        Ok(Self { file, writer, readers, clock })
    }

    /// The file, for the source that reads its log.
    pub fn file(&self) -> &SqliteFile {
        &self.file
    }

    async fn write<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DbError> {
        self.writer.run(statement).await
    }

    async fn read<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DbError> {
        self.readers.run(statement).await
    }

    fn written<T>(&self, value: T, seq: u64) -> Written<T> {
        let mut token = Position::new();
        token.insert_range(&self.file.uuid(), seq, seq);
        Written { value, token: Some(token) }
    }

    fn seen<T>(&self, value: T, seq: u64) -> Seen<T> {
        let uuid = self.file.uuid();
        Seen { value, position: Some(position_of(&uuid, seq)), origin: Some(Box::from(&*uuid)) }
    }

    /// The time in seconds since 1970.
    fn seconds(&self) -> i64 {
        i64::try_from(self.clock.now().as_millis() / 1_000).unwrap_or(i64::MAX)
    }

    fn now(&self) -> String {
        rfc3339(self.clock.now())
    }
}

#[async_trait]
impl Database for Sqlite {
    fn users_table(&self) -> String {
        "main.users".into()
    }

    async fn create(&self, id: Option<u64>, input: &UserInput) -> Result<Written<User>, DbError> {
        let (input, now) = (input.clone(), self.now());
        // An id that SQLite cannot hold is above every id that can be chosen.
        let id = id.map(i64::try_from).transpose().map_err(|_| DbError::NoIdLeft)?;
        match self.write(move |connection| users::create(connection, id, &input, &now)).await? {
            Created::As(user, seq) => Ok(self.written(user, seq)),
            Created::IdTaken => Err(DbError::IdTaken),
            Created::NoIdLeft => Err(DbError::NoIdLeft),
        }
    }

    async fn update(&self, id: u64, input: &UserInput) -> Result<Option<Written<User>>, DbError> {
        let Ok(id) = i64::try_from(id) else { return Ok(None) };
        let (input, now) = (input.clone(), self.now());
        let outcome = self.write(move |connection| users::update(connection, id, &input, &now)).await?;
        Ok(outcome.map(|(user, seq)| self.written(user, seq)))
    }

    async fn delete(&self, id: u64) -> Result<Option<Written<()>>, DbError> {
        let Ok(id) = i64::try_from(id) else { return Ok(None) };
        let outcome = self.write(move |connection| users::delete(connection, id)).await?;
        Ok(outcome.map(|seq| self.written((), seq)))
    }

    async fn get(&self, id: u64) -> Result<Seen<Option<User>>, DbError> {
        // SQLite cannot hold this number, so no row has it; the position is read all the same.
        let id = i64::try_from(id).unwrap_or(-1);
        let (user, seq) = self.read(move |connection| users::get(connection, id)).await?;
        Ok(self.seen(user, seq))
    }

    async fn get_by_email(&self, email: &str) -> Result<Seen<Option<User>>, DbError> {
        let email = email.to_owned();
        let (user, seq) = self.read(move |connection| users::get_by_email(connection, &email)).await?;
        Ok(self.seen(user, seq))
    }

    async fn list(&self, after: u64, limit: u32) -> Result<Vec<User>, DbError> {
        let Ok(after) = i64::try_from(after) else { return Ok(Vec::new()) };
        self.read(move |connection| users::list(connection, after, limit)).await
    }

    async fn find(&self, text: &str, seek: Seek, limit: u32) -> Result<Vec<User>, DbError> {
        let text = text.to_owned();
        self.read(move |connection| users::find(connection, &text, seek, limit)).await
    }

    async fn mode(&self) -> Result<ModeRow, DbError> {
        match self.read(|connection| settings::mode(connection)).await? {
            Some(row) => Ok(row),
            // Another program emptied the table: the row is created again.
            None => self.adopt_mode(None).await,
        }
    }

    async fn adopt_mode(&self, environment: Option<Mode>) -> Result<ModeRow, DbError> {
        let now = self.now();
        self.write(move |connection| settings::adopt_mode(connection, environment, &now)).await
    }

    async fn set_mode(&self, mode: Mode, expected: Option<&[u64]>) -> Result<ModeRow, DbError> {
        let (now, expected) = (self.now(), expected.map(<[u64]>::to_vec));
        self.write(move |connection| settings::set_mode(connection, mode, expected.as_deref(), &now))
            .await?
            .ok_or(DbError::VersionMismatch)
    }

    async fn mode_history(&self) -> Result<Vec<ModeRow>, DbError> {
        self.read(|connection| settings::history(connection)).await
    }

    async fn note(&self, name: &str) -> Result<Option<Note>, DbError> {
        let name = name.to_owned();
        self.read(move |connection| notes::note(connection, &name)).await
    }

    async fn set_note(&self, name: &str, text: &str, expected: Option<u64>) -> Result<Note, DbError> {
        let (name, text, now) = (name.to_owned(), text.to_owned(), self.now());
        self.write(move |connection| notes::set_note(connection, &name, &text, expected, &now))
            .await?
            .ok_or(DbError::VersionMismatch)
    }

    async fn add_audit(&self, entry: &AuditEntry) -> Result<(), DbError> {
        let entry = AuditEntry { at: self.now(), ..entry.clone() };
        self.write(move |connection| notes::add_audit(connection, &entry)).await
    }

    async fn audit(&self) -> Result<Vec<AuditEntry>, DbError> {
        self.read(|connection| notes::audit(connection)).await
    }

    fn connections(&self) -> Connections {
        let (writer, readers) = (self.writer.connections(), self.readers.connections());
        Connections {
            in_use: writer.in_use + readers.in_use,
            idle: writer.idle + readers.idle,
            waiting: writer.waiting + readers.waiting,
        }
    }

    async fn keep(&self, name: &str, text: &str, expires: Option<u64>) -> Result<(), DbError> {
        let (name, text, now) = (name.to_owned(), text.to_owned(), self.seconds());
        let expires = expires.map(|expires| i64::try_from(expires).unwrap_or(i64::MAX));
        self.write(move |connection| kept::keep(connection, &name, &text, expires, now)).await
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, DbError> {
        let (name, now) = (name.to_owned(), self.seconds());
        self.read(move |connection| kept::kept(connection, &name, now)).await
    }

    async fn kept_names(&self, prefix: &str) -> Result<Vec<String>, DbError> {
        let (prefix, now) = (prefix.to_owned(), self.seconds());
        self.read(move |connection| kept::names(connection, &prefix, now)).await
    }

    async fn ping(&self) -> Result<(), DbError> {
        self.read(|connection| connection.query_row("SELECT 1 FROM users LIMIT 1", [], |_| Ok(())).or_else(absent))
            .await
    }
}

fn absent(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    }
}

/// A few connections, each used by one statement at a time, on threads that may block.
///
/// Not from a crate: `deadpool-sqlite` and `tokio-rusqlite` bring an older rusqlite, and a program can link SQLite only
/// once; `deadpool`'s pool of any objects does not count who waits, which a metric and the panel show.
#[derive(Debug)]
struct Pool {
    free: Arc<std::sync::Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    size: usize,
    waiting: AtomicUsize,
}

/// Counts a statement that waits for a connection, until it gets one or is cancelled.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    fn new(connections: Vec<Connection>) -> Self {
        let size = connections.len();
        let permits = Arc::new(Semaphore::new(size));
        Self { free: Arc::new(std::sync::Mutex::new(connections)), permits, size, waiting: AtomicUsize::new(0) }
    }

    fn connections(&self) -> Connections {
        let idle = self.permits.available_permits();
        Connections { in_use: self.size.saturating_sub(idle), idle, waiting: self.waiting.load(Ordering::Relaxed) }
    }

    async fn run<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DbError> {
        let closed = |_| DbError::Unavailable("the connection pool is closed".into());
        let waiting = Waiting::new(&self.waiting);
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(closed)?;
        drop(waiting);
        let free = Arc::clone(&self.free);
        let outcome = tokio::task::spawn_blocking(move || {
            let taken = free.lock().ok().and_then(|mut free| free.pop());
            let mut connection = taken.ok_or("a connection was lost in a panic")?;
            let outcome = statement(&mut connection);
            if let Ok(mut free) = free.lock() {
                free.push(connection);
            }
            drop(permit);
            Ok::<_, &'static str>(outcome)
        });
        match outcome.await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(file::classify(error)),
            Ok(Err(lost)) => Err(DbError::Failed(lost.into())),
            Err(error) => Err(DbError::Failed(error.into())),
        }
    }
}
