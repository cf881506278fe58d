//! The mode in force: a row in the database, followed by every role.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::{Database, DbError, Mode, ModeRow};
use crate::poll::poll;
use crate::shared_task::SharedTask;

/// How often the row is read. A change takes effect everywhere within a second.
const POLL: Duration = Duration::from_millis(250);

/// How long [`Modes::look`] waits for the database. The mode in force here is known without it.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Knows the mode and applies it to this process.
pub struct Modes {
    database: Arc<dyn Database>,
    /// Held while the row is read or written and then put in force, so that an older row never overwrites a newer one.
    order: Mutex<()>,
    current: watch::Sender<ModeRow>,
    looks: SharedTask,
    follow: Box<dyn Fn(&ModeRow) + Send + Sync>,
}

impl Modes {
    /// Puts `row` in force. Calls `follow` with every row that comes into force, one after the other.
    pub fn new(
        database: Arc<dyn Database>,
        row: ModeRow,
        follow: impl Fn(&ModeRow) + Send + Sync + 'static,
    ) -> Arc<Self> {
        follow(&row);
        let (current, follow) = (watch::Sender::new(row), Box::new(follow));
        Arc::new(Self { database, order: Mutex::new(()), current, looks: SharedTask::default(), follow })
    }

    /// Returns the mode in force in this process.
    pub fn current(&self) -> ModeRow {
        self.current.borrow().clone()
    }

    /// Returns a receiver of every change of the mode.
    pub fn watch(&self) -> watch::Receiver<ModeRow> {
        self.current.subscribe()
    }

    /// Reads the row again and returns the mode in force; the last known one if the database is not in time.
    pub async fn look(self: &Arc<Self>) -> ModeRow {
        let modes = Arc::clone(self);
        let look = async move {
            if let Err(error) = modes.refresh().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the mode's row cannot be read");
            }
        };
        self.looks.join(LOOK_MAX, look).await;
        self.current()
    }

    /// Reads the row and puts it in force.
    ///
    /// # Errors
    /// The database's; the mode in force stays as it is.
    pub async fn refresh(&self) -> Result<ModeRow, DbError> {
        let _ordered = self.order.lock().await;
        let row = self.database.mode().await?;
        self.put_in_force(&row);
        Ok(row)
    }

    /// Changes the row and puts it in force: reads of this process that start after this returns follow it.
    ///
    /// # Errors
    /// As [`Database::set_mode`].
    pub async fn set(&self, mode: Mode, expected: Option<&[u64]>) -> Result<ModeRow, DbError> {
        let _ordered = self.order.lock().await;
        let row = self.database.set_mode(mode, expected).await?;
        self.put_in_force(&row);
        Ok(row)
    }

    /// Follows the row until `stop`. While the database is unavailable, the mode stays as it is.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        poll(POLL, &stop, "mode", || self.refresh()).await;
    }

    fn put_in_force(&self, row: &ModeRow) {
        let changed = self.current.send_if_modified(|current| {
            let changed = current != row;
            current.clone_from(row);
            changed
        });
        if changed {
            tracing::info!(mode = row.mode.as_str(), version = row.version, "the mode was changed");
            (self.follow)(row);
        }
    }
}

impl fmt::Debug for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modes").field("current", &*self.current.borrow()).finish_non_exhaustive()
    }
}
