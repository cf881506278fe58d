//! Faults to be switched on and off while everything runs: what the guarantees are shown with.
//!
//! The state is a note in the database, followed by every process within a second; the wrappers at the seams obey it:
//! [`FaultyStore`], [`FaultySource`], [`FaultyDatabase`], [`FaultyBoard`]. A fault outlives a restart, so it is never
//! silent: `/readyz` names it, the log warns of it, and the metric `simulator_fault_active` shows it.

mod board;
mod database;
mod source;
mod state;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::board::FaultyBoard;
pub(crate) use self::database::FaultyDatabase;
pub(crate) use self::source::FaultySource;
pub(crate) use self::state::{DELAY_MS_MAX, FaultState};
pub(crate) use self::store::FaultyStore;
use crate::domain::{Database, DbError};
use crate::together::Together;

/// The note that keeps the state.
const NOTE: &str = "faults";

/// How often the note is read. A switch is in force everywhere within a second.
const POLL: Duration = Duration::from_millis(250);

/// Whoever asks for the switches waits so long for the database to say them.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// The switches, as this process knows them.
pub(crate) struct Faults {
    database: Arc<dyn Database>,
    /// Held while the note is read or written and then put in force, so that an older answer never comes last.
    order: Mutex<()>,
    current: watch::Sender<FaultState>,
    looks: Together,
}

impl Faults {
    /// Everything off, until [`refresh`](Self::refresh) or [`run`](Self::run) has read the note. `database` is the one
    /// without faults.
    pub(crate) fn new(database: Arc<dyn Database>) -> Arc<Self> {
        let current = watch::Sender::new(FaultState::default());
        Arc::new(Self { database, order: Mutex::new(()), current, looks: Together::default() })
    }

    /// What is switched on in this process.
    pub(crate) fn current(&self) -> FaultState {
        *self.current.borrow()
    }

    /// Follows the switches.
    pub(crate) fn watch(&self) -> watch::Receiver<FaultState> {
        self.current.subscribe()
    }

    /// What is switched on, after the note was read again: unless the database does not say it in time.
    pub(crate) async fn look(self: &Arc<Self>) -> FaultState {
        let faults = Arc::clone(self);
        let look = async move {
            if let Err(error) = faults.refresh().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the note of faults cannot be read");
            }
        };
        self.looks.join(LOOK_MAX, look).await;
        self.current()
    }

    /// Reads the note and obeys it.
    ///
    /// # Errors
    /// The database's; what is switched on stays so.
    pub(crate) async fn refresh(&self) -> Result<FaultState, DbError> {
        let _ordered = self.order.lock().await;
        let note = self.database.note(NOTE).await?;
        let state = note.map(|note| FaultState::of_text(&note.text)).unwrap_or_default();
        self.obey(state);
        Ok(state)
    }

    /// Replaces the whole state: here at once, elsewhere within a second. `FaultState::default()` clears everything.
    ///
    /// # Errors
    /// The database's; nothing changed.
    pub(crate) async fn set(&self, state: FaultState) -> Result<FaultState, DbError> {
        let _ordered = self.order.lock().await;
        let note = self.database.set_note(NOTE, &state.to_text(), None).await?;
        let state = FaultState::of_text(&note.text);
        self.obey(state);
        Ok(state)
    }

    /// Follows the note until `stop`. A database that is away changes nothing.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            if let Err(error) = self.refresh().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the note of faults cannot be read");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        // A paused consumer could not be shut down. The note stands.
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
        for name in
            ["pause_consumer", "freeze_stream", "drop_events", "store_delay_ms", "store_cut", "database_delay_ms"]
        {
            let on = if active.contains(&name) { 1.0 } else { 0.0 };
            metrics::gauge!(crate::metrics::FAULT_ACTIVE, "fault" => name).set(on);
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("current", &self.current()).finish_non_exhaustive()
    }
}
