//! What experiments and sweeps share: the handle to start, stop and watch them, and the terminal's view of one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use simulator_cli::{CliError, shutdown_signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::load::{LoadControl, LoadProgress, Shown, StartError, spawn};
use crate::modes;
use crate::unfinished::Site;

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

/// A kind of run that switches modes: what it says of itself besides what all kinds say.
pub trait ModesRun: Clone + fmt::Debug + Default + Send + Sync + 'static {
    type Result: fmt::Debug + Send + Sync + 'static;

    /// The kind in one word.
    const KIND: &'static str;

    /// Names what is measured now, or next.
    fn part(&self) -> String;

    /// Returns the mode in force again, or why it could not be restored and what to do.
    fn restored(result: &Self::Result) -> &Result<String, String>;
}

/// A snapshot of a run that switches modes.
#[derive(Clone, Debug, Default)]
pub struct ModesProgress<R> {
    pub phase: ModesPhase,
    pub elapsed_ms: u64,
    /// Time until the end of all measurements, not counting mode switches.
    pub left_ms: u64,
    /// Progress of the current measurement.
    pub load: LoadProgress,
    /// Why it failed, or what the user has to do.
    pub message: Option<String>,
    /// What only runs of this kind have.
    pub run: R,
}

impl<R: ModesRun> ModesProgress<R> {
    /// Formats one line for a terminal.
    fn line(&self) -> String {
        match self.phase {
            ModesPhase::Running => format!("{}: {}", self.run.part(), self.load.line()),
            ModesPhase::Restoring => "putting the mode back".to_owned(),
            _ => format!("{}: switching the mode", self.run.part()),
        }
    }

    fn end(&mut self, phase: ModesPhase, message: Option<String>) {
        (self.phase, self.message, self.left_ms) = (phase, message, 0);
    }
}

/// Starts, stops and shows runs of one kind. It shares its permit with load and the other kinds: one run at a time. Clones share the
/// same state.
#[derive(Debug)]
pub struct ModesControl<R: ModesRun> {
    load: LoadControl,
    progress: watch::Sender<ModesProgress<R>>,
    last: Arc<Mutex<Last<R::Result>>>,
}

// Derived, it would ask for results that can be cloned.
impl<R: ModesRun> Clone for ModesControl<R> {
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

impl<R: ModesRun> ModesControl<R> {
    /// Creates a handle that uses the target and the permit of `load`.
    pub fn new(load: &LoadControl) -> Self {
        let last = Last { stop: CancellationToken::new(), result: None };
        Self { load: load.clone(), progress: watch::Sender::default(), last: Arc::new(Mutex::new(last)) }
    }

    /// Starts `work` on a thread of its own and returns immediately. `run` and `left_ms` are seen from then on.
    ///
    /// # Errors
    /// [`StartError`]. Later failures are reported through [`watch`](Self::watch).
    pub(crate) fn start_work<F>(
        &self,
        run: R,
        left_ms: u64,
        work: impl FnOnce(Site, CancellationToken, watch::Sender<ModesProgress<R>>) -> F + Send + 'static,
    ) -> Result<(), StartError>
    where
        F: Future<Output = Result<R::Result, CliError>>,
    {
        let permit = Arc::clone(self.load.place()).try_acquire_owned().map_err(|_| StartError::Busy)?;
        let stop = CancellationToken::new();
        self.last().stop = stop.clone();
        // Set here so that a caller that reads the progress right after the start sees it.
        self.progress.send_replace(ModesProgress {
            phase: ModesPhase::Switching,
            left_ms,
            run,
            ..ModesProgress::default()
        });
        let (control, site) = (self.clone(), Site::of(&self.load));
        let started = spawn(R::KIND, move || async move {
            let ended = work(site, stop.clone(), control.progress.clone()).await.map(Arc::new);
            if let Ok(result) = &ended {
                control.last().result = Some(Arc::clone(result));
            }
            // Before the end is published, so that a caller that sees it can start the next run.
            drop(permit);
            control.progress.send_modify(|progress| match ended {
                Ok(result) => progress.end(ModesPhase::Finished, R::restored(&result).clone().err()),
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

    /// Takes back what a run of this kind has done whose process was killed, if there is one: restores the mode and removes its rows.
    /// Until then no run starts. [`watch`](Self::watch) says what came of it.
    pub fn take_back(&self) {
        let site = Site::of(&self.load);
        let Some(unfinished) = site.unfinished().filter(|unfinished| unfinished.kind == R::KIND) else { return };
        let Ok(permit) = Arc::clone(self.load.place()).try_acquire_owned() else { return };
        let stop = CancellationToken::new();
        self.last().stop = stop.clone();
        self.progress.send_modify(|progress| progress.end(ModesPhase::Restoring, None));
        let control = self.clone();
        let started = spawn(R::KIND, move || async move {
            let message = modes::take_back(&site, &unfinished, &stop).await;
            drop(permit);
            control.progress.send_modify(|progress| progress.end(ModesPhase::Stopped, Some(message)));
        });
        if let Err(error) = started {
            self.progress.send_modify(|progress| progress.end(ModesPhase::Failed, Some(error.to_string())));
        }
    }

    /// Ends the current run early. The original mode is restored. Returns false if there is no run.
    pub fn stop(&self) -> bool {
        let is_active = self.progress.borrow().phase.is_active();
        self.last().stop.cancel();
        is_active
    }

    /// Returns a receiver of the progress of this run and of later ones.
    pub fn watch(&self) -> watch::Receiver<ModesProgress<R>> {
        self.progress.subscribe()
    }

    /// Returns the result of the last run that produced one.
    pub fn result(&self) -> Option<Arc<R::Result>> {
        self.last().result.clone()
    }

    /// Ends the run and waits up to `patience` until it has restored the mode. Returns false on timeout. Call it at
    /// shutdown, while the API still serves.
    pub async fn settle(&self, patience: Duration) -> bool {
        self.stop();
        let mut progress = self.watch();
        let settled = progress.wait_for(|progress| !progress.phase.is_active());
        tokio::time::timeout(patience, settled).await.is_ok()
    }

    /// Prints the progress of the run that was started until it ends. A shutdown signal ends it early.
    ///
    /// # Errors
    /// A line that says why it came to no result.
    pub(crate) async fn follow(&self) -> Result<Arc<R::Result>, CliError> {
        let ended = self.shown_until_ended().await;
        self.result().ok_or_else(|| {
            let why = ended.message.unwrap_or_else(|| format!("the {} came to no result", R::KIND));
            CliError::new(why)
        })
    }

    async fn shown_until_ended(&self) -> ModesProgress<R> {
        let (mut progress, mut shown) = (self.watch(), Shown::default());
        let shutdown = shutdown_signal();
        tokio::pin!(shutdown);
        loop {
            let now = progress.borrow_and_update().clone();
            if !now.phase.is_active() {
                shown.end();
                return now;
            }
            shown.show(&now.line(), now.elapsed_ms);
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

    fn last(&self) -> MutexGuard<'_, Last<R::Result>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
