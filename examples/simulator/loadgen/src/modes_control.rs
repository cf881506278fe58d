//! What experiments and sweeps share: the handle to start, stop and watch them, and the terminal's view of one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use simulator_cli::{CliError, shutdown_signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::load::{LoadControl, Shown, StartError, Target, spawn};

/// Maximum wait for the mode to be restored after an interruption.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Phase of a run that switches modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModesPhase {
    /// None was started yet.
    #[default]
    Idle,
    /// Switching the mode.
    Switching,
    Running,
    /// Restoring the original mode.
    Restoring,
    Finished,
    /// Stopped early: there is nothing to compare.
    Stopped,
    /// It failed; `message` says why.
    Failed,
}

impl ModesPhase {
    /// Returns true while it is in progress, so that no other run can start.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Switching | Self::Running | Self::Restoring)
    }
}

/// A snapshot of a run that switches modes.
pub trait ModesProgress: Clone + fmt::Debug + Default + Send + Sync + 'static {
    type Result: fmt::Debug + Send + Sync + 'static;

    fn phase(&self) -> ModesPhase;

    fn elapsed_ms(&self) -> u64;

    /// Formats one line for a terminal.
    fn line(&self) -> String;

    /// Why it failed, or what the user has to do.
    fn message(&self) -> Option<&str>;

    /// Notes the end of the run, and what the user has to know.
    fn end(&mut self, phase: ModesPhase, message: Option<String>);

    /// Notes a result.
    ///
    /// # Errors
    /// Why the mode could not be restored.
    fn note(&mut self, result: &Self::Result) -> Result<(), String>;
}

/// Starts, stops and shows runs of one kind. It shares its permit with load and the other kinds: one run at a time. Clones share the
/// same state.
#[derive(Debug)]
pub struct ModesControl<P: ModesProgress> {
    load: LoadControl,
    progress: watch::Sender<P>,
    last: Arc<Mutex<Last<P::Result>>>,
}

// Derived, it would ask for results that can be cloned.
impl<P: ModesProgress> Clone for ModesControl<P> {
    fn clone(&self) -> Self {
        Self { load: self.load.clone(), progress: self.progress.clone(), last: Arc::clone(&self.last) }
    }
}

/// The current run and the last result.
#[derive(Debug)]
struct Last<R> {
    stop: CancellationToken,
    result: Option<Arc<R>>,
}

impl<P: ModesProgress> ModesControl<P> {
    /// Creates a handle that uses the target and the permit of `load`.
    pub fn new(load: &LoadControl) -> Self {
        let last = Last { stop: CancellationToken::new(), result: None };
        Self { load: load.clone(), progress: watch::Sender::default(), last: Arc::new(Mutex::new(last)) }
    }

    /// Starts `work` on a thread of its own and returns immediately. `begin` sets the progress that is seen from then on.
    ///
    /// # Errors
    /// [`StartError`]. Later failures are reported through [`watch`](Self::watch).
    pub(crate) fn start_work<F>(
        &self,
        name: &str,
        begin: impl FnOnce(&mut P),
        work: impl FnOnce(Target, CancellationToken, watch::Sender<P>) -> F + Send + 'static,
    ) -> Result<(), StartError>
    where
        F: Future<Output = Result<P::Result, CliError>>,
    {
        let permit = Arc::clone(self.load.place()).try_acquire_owned().map_err(|_| StartError::Busy)?;
        let stop = CancellationToken::new();
        self.last().stop = stop.clone();
        // Set here so that a caller that reads the progress right after the start sees it.
        self.progress.send_modify(begin);
        let (control, target) = (self.clone(), self.load.target().clone());
        let started = spawn(name, move || async move {
            let ended = work(target, stop.clone(), control.progress.clone()).await.map(Arc::new);
            if let Ok(result) = &ended {
                control.last().result = Some(Arc::clone(result));
            }
            // Before the end is published, so that a caller that sees it can start the next run.
            drop(permit);
            control.progress.send_modify(|progress| match ended {
                Ok(result) => {
                    let restored = progress.note(&result);
                    progress.end(ModesPhase::Finished, restored.err());
                }
                Err(error) => {
                    let phase = if stop.is_cancelled() { ModesPhase::Stopped } else { ModesPhase::Failed };
                    progress.end(phase, Some(error.to_string()));
                }
            });
        });
        started.map_err(|error| {
            self.progress.send_modify(|progress| progress.end(ModesPhase::Failed, Some(error.to_string())));
            StartError::Invalid(error.to_string())
        })
    }

    /// Ends the current run early. The original mode is restored. Returns false if there is no run.
    pub fn stop(&self) -> bool {
        let is_active = self.progress.borrow().phase().is_active();
        self.last().stop.cancel();
        is_active
    }

    /// Returns a receiver of the progress of this run and of later ones.
    pub fn watch(&self) -> watch::Receiver<P> {
        self.progress.subscribe()
    }

    /// Returns the result of the last run that produced one.
    pub fn result(&self) -> Option<Arc<P::Result>> {
        self.last().result.clone()
    }

    /// Ends the run and waits up to `patience` until it has restored the mode. Returns false on timeout. Call it at
    /// shutdown, while the API still serves.
    pub async fn settle(&self, patience: Duration) -> bool {
        self.stop();
        let mut progress = self.watch();
        let settled = progress.wait_for(|progress| !progress.phase().is_active());
        tokio::time::timeout(patience, settled).await.is_ok()
    }

    /// Prints the progress of the run that was started until it ends. A shutdown signal ends it early.
    ///
    /// # Errors
    /// A line that says why it came to no result. `name` is of the run.
    pub(crate) async fn follow(&self, name: &str) -> Result<Arc<P::Result>, CliError> {
        let ended = self.shown_until_ended().await;
        self.result().ok_or_else(|| {
            let why = ended.message().map_or_else(|| format!("the {name} came to no result"), str::to_owned);
            CliError::new(why)
        })
    }

    async fn shown_until_ended(&self) -> P {
        let (mut progress, mut shown) = (self.watch(), Shown::default());
        let shutdown = shutdown_signal();
        tokio::pin!(shutdown);
        loop {
            let now = progress.borrow_and_update().clone();
            if !now.phase().is_active() {
                shown.end();
                return now;
            }
            shown.show(&now.line(), now.elapsed_ms());
            tokio::select! {
                () = &mut shutdown => {
                    self.settle(SETTLE_MAX).await;
                    shown.end();
                    return progress.borrow().clone();
                }
                changed = progress.changed() => {
                    if changed.is_err() {
                        return now;
                    }
                }
            }
        }
    }

    fn last(&self) -> MutexGuard<'_, Last<P::Result>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
