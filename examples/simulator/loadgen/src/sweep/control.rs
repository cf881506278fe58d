//! The handle to start, stop and watch sweeps. It shares its permit with load and experiments: one of them at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outcome::{SweepPhase, SweepProgress, SweepResult, millis};
use super::plan::SweepPlan;
use super::run;
use crate::load::{LoadControl, StartError, spawn};

/// Starts and stops sweeps. Clones share the same state.
#[derive(Clone, Debug)]
pub struct SweepControl {
    load: LoadControl,
    /// Maximum length of all measurements of a sweep together.
    length_max: Duration,
    progress: watch::Sender<SweepProgress>,
    last: Arc<Mutex<Last>>,
}

/// The running sweep and the last result.
#[derive(Debug, Default)]
struct Last {
    stop: CancellationToken,
    result: Option<Arc<SweepResult>>,
}

impl SweepControl {
    /// Creates a handle that uses the target and the permit of `load`. `length_max` bounds all measurements of a sweep together.
    pub fn new(load: &LoadControl, length_max: Duration) -> Self {
        Self {
            load: load.clone(),
            length_max,
            progress: watch::Sender::new(SweepProgress::default()),
            last: Arc::default(),
        }
    }

    /// Starts a sweep and returns immediately.
    ///
    /// # Errors
    /// [`StartError`]. Later failures are reported through [`SweepControl::watch`].
    pub fn start(&self, plan: SweepPlan) -> Result<(), StartError> {
        plan.check(self.length_max).map_err(StartError::Invalid)?;
        let permit = Arc::clone(self.load.place()).try_acquire_owned().map_err(|_| StartError::Busy)?;
        let stop = CancellationToken::new();
        self.last().stop = stop.clone();
        // Set here so that a caller that reads the progress right after the start sees it.
        self.progress.send_modify(|progress| {
            let finished_at = progress.finished_at.take();
            let (phase, part) = (SweepPhase::Switching, (1, plan.parts()));
            let left_ms = millis(plan.length());
            *progress = SweepProgress { phase, part, left_ms, finished_at, ..SweepProgress::default() };
        });
        let (control, target) = (self.clone(), self.load.target().clone());
        let started = spawn("sweep", move || async move {
            let ended = run::run(target, plan, &stop, &control.progress).await;
            if let Ok(result) = &ended {
                control.last().result = Some(Arc::new(result.clone()));
            }
            // Before the end is published, so that a caller that sees it can start the next run.
            drop(permit);
            control.progress.send_modify(|progress| {
                progress.left_ms = 0;
                match ended {
                    Ok(result) => {
                        progress.phase = SweepPhase::Finished;
                        progress.message = result.restored.err();
                        progress.finished_at = Some(result.started_at);
                    }
                    Err(error) => {
                        let stopped = stop.is_cancelled();
                        progress.phase = if stopped { SweepPhase::Stopped } else { SweepPhase::Failed };
                        progress.message = Some(error.to_string());
                    }
                }
            });
        });
        started.map_err(|error| {
            self.progress.send_modify(|progress| {
                progress.phase = SweepPhase::Failed;
                progress.message = Some(error.to_string());
            });
            StartError::Invalid(error.to_string())
        })
    }

    /// Ends the current sweep early, if there is one. The original mode is restored.
    pub fn stop(&self) {
        self.last().stop.cancel();
    }

    /// Returns a receiver of the progress of this sweep and of later ones.
    pub fn watch(&self) -> watch::Receiver<SweepProgress> {
        self.progress.subscribe()
    }

    /// Returns the result of the last sweep that produced one.
    pub fn result(&self) -> Option<Arc<SweepResult>> {
        self.last().result.clone()
    }

    /// Ends the sweep and waits up to `patience` until it has restored the mode. Returns false on timeout. Call it
    /// at shutdown, while the API still serves.
    pub async fn settle(&self, patience: Duration) -> bool {
        self.stop();
        let mut progress = self.watch();
        let settled = progress.wait_for(|progress| !progress.phase.is_active());
        tokio::time::timeout(patience, settled).await.is_ok()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
