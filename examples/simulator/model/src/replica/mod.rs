//! A replica that lags, for the fault switch `replica_lag_ms`: the rows of the primary as they were that long ago.
//!
//! While the switch is on, the process that loads follows the database's log and remembers the changes that the replica has
//! not executed yet. A load reads the row of the primary, undoes these changes, and reports the position of what it really
//! shows. If the cache is fenced, it waits for the fence before. The same holds over SQLite and over MySQL: no second server
//! is needed, and the log is read a second time.

mod history;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cachefront::event::Batch;
use cachefront::source::{BatchLimits, ChangeSource, TableFilter};
use cachefront::{LoadCx, Position, Result};
use tokio::time::Instant;

use self::history::History;
use crate::domain::{Database, DbError, Seen, User};
use crate::faults::Faults;

/// The name by which caches declare it.
pub const NAME: &str = "replica";

/// How long a load waits until the replica follows the log, and until the log was read up to the row.
const FOLLOW_MAX: Duration = Duration::from_secs(5);

/// The poll interval while waiting.
const PAUSE: Duration = Duration::from_millis(2);

/// The limits of one read of the log.
const LIMITS: BatchLimits = BatchLimits {
    changes_max: 1_000,
    bytes_max: 4 << 20,
    wait_max: Duration::from_millis(500),
    linger_max: Duration::ZERO,
};

/// What loaders read: the primary, or a replica that is behind it while the switch says so.
pub struct Replica {
    /// With the delays that are switched on.
    primary: Arc<dyn Database>,
    faults: Arc<Faults>,
    /// `None` while the log is not followed.
    history: Mutex<Option<History>>,
}

impl Replica {
    pub fn new(primary: Arc<dyn Database>, faults: Arc<Faults>) -> Arc<Self> {
        Arc::new(Self { primary, faults, history: Mutex::default() })
    }

    /// Reads a user by id, and reports to `cx` what was read.
    ///
    /// # Errors
    /// The database's; `Unavailable` if the log cannot be followed.
    pub async fn get(&self, id: u64, cx: &LoadCx) -> Result<Option<User>, DbError> {
        self.read(cx, self.primary.get(id), |user| user.id == id).await
    }

    /// Reads a user by e-mail address, and reports to `cx` what was read.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_by_email(&self, email: &str, cx: &LoadCx) -> Result<Option<User>, DbError> {
        self.read(cx, self.primary.get_by_email(email), |user| user.email == email).await
    }

    /// Reads a user by id from the primary, whatever the switch says.
    ///
    /// # Errors
    /// The database's.
    pub async fn get_from_primary(&self, id: u64, cx: &LoadCx) -> Result<Option<User>, DbError> {
        Ok(noted(self.primary.get(id).await?, cx))
    }

    /// Reads a user by e-mail address from the primary, whatever the switch says.
    ///
    /// # Errors
    /// The database's.
    pub async fn get_by_email_from_primary(&self, email: &str, cx: &LoadCx) -> Result<Option<User>, DbError> {
        Ok(noted(self.primary.get_by_email(email).await?, cx))
    }

    async fn read(
        &self,
        cx: &LoadCx,
        primary: impl Future<Output = Result<Seen<Option<User>>, DbError>> + Send,
        is_wanted: impl Fn(&User) -> bool + Send,
    ) -> Result<Option<User>, DbError> {
        let Some(executed) = self.executed(cx).await? else { return Ok(noted(primary.await?, cx)) };
        let Seen { value, position, .. } = primary.await?;
        if let Some(position) = position {
            self.until_read(&position).await?;
        }
        cx.replica();
        // Of before the row was read: what is shown contains at least this.
        cx.position(executed);
        Ok(match &mut *self.history() {
            Some(history) => {
                history.execute(self.horizon());
                history.undo(value, is_wanted)
            }
            // The switch was lifted in the meantime: the row of the primary contains what was reported.
            None => value,
        })
    }

    /// Returns what the replica has executed, once it has executed the fence of the load or the load need not wait any longer.
    /// `None` while the switch is off.
    async fn executed(&self, cx: &LoadCx) -> Result<Option<Position>, DbError> {
        let began = Instant::now();
        loop {
            if self.lag().is_zero() {
                return Ok(None);
            }
            let executed = self.history().as_mut().map(|history| {
                history.execute(self.horizon());
                history.executed().clone()
            });
            match executed {
                Some(executed) => {
                    let has_fence = cx.fence().is_none_or(|fence| executed.covers(fence));
                    if has_fence || began.elapsed() >= cx.fence_wait() {
                        return Ok(Some(executed));
                    }
                }
                None if began.elapsed() >= FOLLOW_MAX => return Err(not_followed()),
                None => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the log was read up to `position`, the one of a row of the primary.
    async fn until_read(&self, position: &Position) -> Result<(), DbError> {
        let deadline = Instant::now() + FOLLOW_MAX;
        while self.history().as_ref().is_some_and(|history| !history.has_read(position)) {
            if Instant::now() >= deadline {
                return Err(not_followed());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Returns once the switch is on.
    pub async fn until_lagging(&self) {
        // Cannot fail: the watch ends with its sender, which this value keeps alive.
        let _ = self.faults.watch().wait_for(|state| state.replica_lag_ms > 0).await;
    }

    /// Follows the log from its end on until the switch is off.
    ///
    /// # Errors
    /// Those of the source; the replica is not followed then.
    pub async fn follow(&self, source: &mut dyn ChangeSource, filter: &TableFilter) -> Result<()> {
        source.preflight(filter).await?;
        let head = source.probe().head().await?;
        source.open(&head.checkpoint, filter).await?;
        *self.history() = Some(History::new(head.checkpoint.position));
        let mut switches = self.faults.watch();
        let ended = loop {
            let batch = tokio::select! {
                biased;
                _ = switches.wait_for(|state| state.replica_lag_ms == 0) => break Ok(()),
                batch = source.next_batch(&LIMITS) => batch,
            };
            if let Err(error) = batch.and_then(|batch| self.append(&batch)) {
                break Err(error);
            }
        };
        *self.history() = None;
        ended
    }

    fn append(&self, batch: &Batch) -> Result<()> {
        match &mut *self.history() {
            Some(history) => {
                history.execute(self.horizon());
                history.append(batch, Instant::now())
            }
            None => Ok(()),
        }
    }

    fn lag(&self) -> Duration {
        Duration::from_millis(self.faults.current().replica_lag_ms)
    }

    /// Returns the time up to which the replica has executed what it received.
    fn horizon(&self) -> Instant {
        let now = Instant::now();
        now.checked_sub(self.lag()).unwrap_or(now)
    }

    /// A poisoned lock is usable: no code panics while it holds it.
    fn history(&self) -> MutexGuard<'_, Option<History>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("lag", &self.lag()).finish_non_exhaustive()
    }
}

fn not_followed() -> DbError {
    DbError::Unavailable(
        "the replica of the fault switch replica_lag_ms cannot follow the database's log: the log of the program says why".into(),
    )
}

/// Hands the cache the position and origin that were read before the row.
fn noted<T>(seen: Seen<T>, cx: &LoadCx) -> T {
    if let Some(position) = seen.position {
        cx.position(position);
    }
    if let Some(origin) = &seen.origin {
        cx.origin(origin);
    }
    seen.value
}
