//! The switches of all faults, as this process knows them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::state::FaultState;
use crate::domain::{Database, DbError};
use crate::shared_task::SharedTask;

/// The note that keeps the state.
const NOTE: &str = "faults";

/// How often the note is read. A switch takes effect everywhere within a second.
const POLL: Duration = Duration::from_millis(250);

/// How long [`Faults::look`] waits for the database.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Maximum number of attempts to change the note; each failed one means that another process changed it.
const CHANGE_TRIES: u32 = 20;

/// The switches as this process knows them.
pub struct Faults {
    database: Arc<dyn Database>,
    /// Held while the note is read or written and then applied, so that an older state never overwrites a newer one.
    order: Mutex<()>,
    current: watch::Sender<FaultState>,
    looks: SharedTask,
}

impl Faults {
    /// Everything is off until [`refresh`](Self::refresh) or [`run`](Self::run) has read the note. `database` is the
    /// one without faults.
    pub fn new(database: Arc<dyn Database>) -> Arc<Self> {
        let current = watch::Sender::new(FaultState::default());
        Arc::new(Self { database, order: Mutex::new(()), current, looks: SharedTask::default() })
    }

    /// Returns the switches in force in this process.
    pub fn current(&self) -> FaultState {
        *self.current.borrow()
    }

    /// Returns a receiver of every change of the switches.
    pub fn watch(&self) -> watch::Receiver<FaultState> {
        self.current.subscribe()
    }

    /// Reads the note again and returns the switches in force; the last known ones if the database is not in time.
    pub async fn look(self: &Arc<Self>) -> FaultState {
        let faults = Arc::clone(self);
        let look = async move {
            if let Err(error) = faults.refresh().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the note of faults cannot be read");
            }
        };
        self.looks.join(LOOK_MAX, look).await;
        self.current()
    }

    /// Reads the note and applies it.
    ///
    /// # Errors
    /// The database's; the switches in force stay as they are.
    pub async fn refresh(&self) -> Result<FaultState, DbError> {
        let _ordered = self.order.lock().await;
        let note = self.database.note(NOTE).await?;
        let state = note.map(|note| FaultState::of_text(&note.text)).unwrap_or_default();
        self.obey(state);
        Ok(state)
    }

    /// Replaces the whole state: here at once, in other processes within a second. `FaultState::default()` clears
    /// everything.
    ///
    /// # Errors
    /// The database's; the switches stay as they are.
    pub async fn set(&self, state: FaultState) -> Result<FaultState, DbError> {
        let _ordered = self.order.lock().await;
        let note = self.database.set_note(NOTE, &state.to_text(), None).await?;
        let state = FaultState::of_text(&note.text);
        self.obey(state);
        Ok(state)
    }

    /// Changes some switches and keeps all others, also those that another process changes at the same time: the note
    /// is written only if it is still the one that was read.
    ///
    /// # Errors
    /// The database's; the switches stay as they are. [`DbError::VersionMismatch`] if other processes won every
    /// attempt.
    pub async fn change(&self, change: impl Fn(FaultState) -> FaultState + Send + Sync) -> Result<FaultState, DbError> {
        let _ordered = self.order.lock().await;
        for _ in 0..CHANGE_TRIES {
            let note = self.database.note(NOTE).await?;
            let (version, state) =
                note.map_or((0, FaultState::default()), |note| (note.version, FaultState::of_text(&note.text)));
            match self.database.set_note(NOTE, &change(state).to_text(), Some(version)).await {
                Ok(note) => {
                    let state = FaultState::of_text(&note.text);
                    self.obey(state);
                    return Ok(state);
                }
                Err(DbError::VersionMismatch) => {}
                Err(error) => return Err(error),
            }
        }
        Err(DbError::VersionMismatch)
    }

    /// Follows the note until `stop`. While the database is unavailable, the switches stay as they are.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            if let Err(error) = self.refresh().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the note of faults cannot be read");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        // A paused consumer could not be shut down. The note itself is kept.
        self.current.send_replace(FaultState::default());
    }

    fn obey(&self, state: FaultState) {
        let changed = self.current.send_if_modified(|current| std::mem::replace(current, state) != state);
        if !changed {
            return;
        }
        let active = state.active();
        match active.is_empty() {
            true => tracing::info!("all faults are switched off"),
            false => tracing::warn!(faults = active.join(", "), "faults are switched on"),
        }
        for (name, on) in state.switches() {
            metrics::gauge!(crate::metrics::FAULT_ACTIVE, "fault" => name).set(if on { 1.0 } else { 0.0 });
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("current", &self.current()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cachefront::clock::SystemClock;
    use tempfile::TempDir;

    use super::*;
    use crate::db::sqlite::Sqlite;
    use crate::server_name::ServerName;

    #[tokio::test]
    async fn switches_that_are_set_at_once_in_two_processes_all_stay() {
        let directory = TempDir::new().expect("a directory");
        let process = || {
            let database = Sqlite::open(directory.path(), Arc::new(SystemClock::new())).expect("a database");
            Faults::new(Arc::new(database))
        };
        let (one, other) = (process(), process());
        let switches: [fn(&mut FaultState); 8] = [
            |state| state.pause_consumer = true,
            |state| state.freeze_stream = true,
            |state| state.drop_events = true,
            |state| state.store_cut = true,
            |state| state.store_delay_ms = 5,
            |state| state.database_delay_ms = 7,
            |state| state.replica_lag_ms = 9,
            |state| state.bus_cut = Some(ServerName::B),
        ];
        let set = switches.into_iter().enumerate().map(|(at, switch)| {
            let faults = if at % 2 == 0 { &one } else { &other };
            faults.change(move |mut state| {
                switch(&mut state);
                state
            })
        });
        for outcome in futures_util::future::join_all(set).await {
            outcome.expect("a change");
        }
        assert_eq!(one.refresh().await.expect("a state").active().len(), 8);
    }
}
