//! The database file: its path, its connections and its identity.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cachefront::Position;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::domain::DbError;

const FILE_NAME: &str = "simulator.sqlite3";

/// How long a statement waits for another program's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// An SQLite file with the simulator's tables and triggers.
#[derive(Clone, Debug)]
pub struct SqliteFile {
    path: PathBuf,
    uuid: Arc<str>,
}

impl SqliteFile {
    /// Creates the directory, the file and its tables and triggers, as far as they are missing.
    ///
    /// # Errors
    /// [`DbError::Failed`] if the directory or the file cannot be used.
    pub fn create(directory: &Path) -> Result<Self, DbError> {
        let path = directory.join(FILE_NAME);
        private::prepare(directory, &path).map_err(|error| DbError::Failed(error.into()))?;
        let connection = open(&path).map_err(classify)?;
        install(&connection).map_err(classify)?;
        let uuid: String =
            connection.query_row("SELECT uuid FROM cachefront_file", [], |row| row.get(0)).map_err(classify)?;
        Ok(Self { path, uuid: uuid.into() })
    }

    /// The origin of this file's positions.
    pub fn uuid(&self) -> Arc<str> {
        Arc::clone(&self.uuid)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a connection with this program's settings.
    ///
    /// # Errors
    /// As [`SqliteFile::create`].
    pub fn connect(&self) -> Result<Connection, DbError> {
        open(&self.path).map_err(classify)
    }
}

/// The directory and the files are the user's alone: they hold the key that signs sessions.
#[cfg(unix)]
mod private {
    use std::fs::{DirBuilder, OpenOptions, Permissions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    use std::path::Path;

    /// Creates what is missing, and takes the rights of other users away from files that exist. SQLite gives its other files
    /// the rights of the first one.
    pub(super) fn prepare(directory: &Path, file: &Path) -> io::Result<()> {
        // A directory that exists may be one that others need, such as /tmp: its rights are the user's choice.
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?;
        for suffix in ["", "-wal", "-shm"] {
            let mut name = file.as_os_str().to_owned();
            name.push(suffix);
            let path = Path::new(&name);
            match path.metadata() {
                Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(not(unix))]
mod private {
    pub(super) fn prepare(directory: &std::path::Path, _file: &std::path::Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)
    }
}

/// Creates the tables and triggers that are missing, and updates those of an earlier version.
///
/// # Errors
/// If a statement fails.
pub fn install(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    if lacks(&transaction, "users", "status")? {
        transaction.execute_batch(include_str!("../status.sql"))?;
    }
    if lacks(&transaction, "cachefront_audit", "times")? {
        transaction.execute_batch("ALTER TABLE cachefront_audit ADD COLUMN times INTEGER NOT NULL DEFAULT 1")?;
    }
    transaction.execute_batch(include_str!("../schema.sql"))?;
    transaction.commit()
}

/// Returns true if the table exists without the column: it is of an earlier version.
fn lacks(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let columns = "SELECT count(*), ifnull(sum(name = ?2), 0) FROM pragma_table_info(?1)";
    let (all, found): (u32, u32) =
        connection.query_row(columns, [table, column], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(all > 0 && found == 0)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In WAL mode the file stays consistent; only a power failure may lose the last commits.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "recursive_triggers", "ON")?;
    Ok(connection)
}

/// Returns the number of the last committed log row in this connection's snapshot.
///
/// # Errors
/// If the statement fails.
pub fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'cachefront_log'")?;
    let mut rows = statement.query([])?;
    match rows.next()? {
        Some(row) => Ok(row.get::<_, i64>(0)?.unsigned_abs()),
        None => Ok(0),
    }
}

/// Returns the position of everything up to the log row `seq`.
pub fn position_of(uuid: &Arc<str>, seq: u64) -> Position {
    let mut position = Position::new();
    position.insert_range(uuid, 1, seq);
    position
}

/// Classifies a failed statement.
pub(super) fn classify(error: rusqlite::Error) -> DbError {
    let extended = error.sqlite_error().map(|failure| failure.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation)
            if extended == Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
                && error.to_string().contains("users.email") =>
        {
            DbError::EmailTaken
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen | ErrorCode::DiskFull) => {
            DbError::Unavailable(error.into())
        }
        _ => DbError::Failed(error.into()),
    }
}
