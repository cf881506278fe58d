//! The handle to start, stop and watch experiments. It shares its permit with load: one of them at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outcome::{ExperimentPhase, ExperimentProgress, ExperimentResult};
use super::run;
use crate::load::{LoadControl, LoadPlan, StartError, spawn};

/// Starts and stops experiments. Clones share the same state.
#[derive(Clone, Debug)]
pub struct ExperimentControl {
    load: LoadControl,
    progress: watch::Sender<ExperimentProgress>,
    last: Arc<Mutex<Last>>,
}

/// The running experiment and the last result.
#[derive(Debug, Default)]
struct Last {
    stop: CancellationToken,
    result: Option<Arc<ExperimentResult>>,
}

impl ExperimentControl {
    /// Creates a handle that uses the target and the permit of `load`.
    pub fn new(load: &LoadControl) -> Self {
        Self { load: load.clone(), progress: watch::Sender::new(ExperimentProgress::default()), last: Arc::default() }
    }

    /// Starts an experiment and returns immediately. Each side takes the length of the plan: 30 s by default, 90 s in
    /// total.
    ///
    /// # Errors
    /// [`StartError`]. Later failures are reported through [`ExperimentControl::watch`].
    pub fn start(&self, plan: LoadPlan) -> Result<(), StartError> {
        plan.check().map_err(StartError::Invalid)?;
        let permit = Arc::clone(self.load.place()).try_acquire_owned().map_err(|_| StartError::Busy)?;
        let stop = CancellationToken::new();
        self.last().stop = stop.clone();
        // Set here so that a caller that reads the progress right after the start sees it.
        self.progress.send_modify(|progress| {
            let (run, phase) = (progress.run + 1, ExperimentPhase::Switching);
            *progress = ExperimentProgress { run, phase, side: Some("ttl"), ..ExperimentProgress::default() };
        });
        let (control, target) = (self.clone(), self.load.target().clone());
        let started = spawn("experiment", move || async move {
            let ended = run::run(target, plan, &stop, &control.progress).await;
            if let Ok(result) = &ended {
                control.last().result = Some(Arc::new(result.clone()));
            }
            // Before the end is published, so that a caller that sees it can start the next experiment.
            drop(permit);
            control.progress.send_modify(|progress| {
                (progress.left_ms, progress.side) = (0, None);
                match ended {
                    Ok(result) => {
                        progress.phase = ExperimentPhase::Finished;
                        progress.message = result.restored.err();
                        progress.verdict = Some(result.verdict);
                    }
                    Err(error) => {
                        let stopped = stop.is_cancelled();
                        progress.phase = if stopped { ExperimentPhase::Stopped } else { ExperimentPhase::Failed };
                        progress.message = Some(error.to_string());
                    }
                }
            });
        });
        started.map_err(|error| {
            self.progress.send_modify(|progress| {
                progress.phase = ExperimentPhase::Failed;
                progress.message = Some(error.to_string());
            });
            StartError::Invalid(error.to_string())
        })
    }

    /// Ends the current experiment early, if there is one. The original mode is restored.
    pub fn stop(&self) {
        self.last().stop.cancel();
    }

    /// Returns a receiver of the progress of this experiment and of later ones.
    pub fn watch(&self) -> watch::Receiver<ExperimentProgress> {
        self.progress.subscribe()
    }

    /// Returns the result of the last experiment that produced one.
    pub fn result(&self) -> Option<Arc<ExperimentResult>> {
        self.last().result.clone()
    }

    /// Ends the experiment and waits up to `patience` until it has restored the mode. Returns false on timeout. Call it
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::load::progress::Phase;
    use crate::load::{LoadProgress, Target};

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn ended(control: &LoadControl) -> LoadProgress {
        let mut progress = control.watch();
        let ended = progress.wait_for(|progress| !progress.phase.is_active());
        tokio::time::timeout(PATIENCE, ended).await.expect("an end in time").expect("a control").clone()
    }

    #[tokio::test]
    async fn one_run_at_a_time_and_an_experiment_counts_as_one() {
        // This listener never sends a response.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", silent.local_addr().expect("an address"));
        let control = LoadControl::new(Target { url, token: None });
        let experiment = ExperimentControl::new(&control);
        control.start(LoadPlan::default()).expect("the first run");
        assert_eq!(control.watch().borrow().phase, Phase::Preparing);
        assert_eq!(control.start(LoadPlan::default()), Err(StartError::Busy));
        assert_eq!(experiment.start(LoadPlan::default()), Err(StartError::Busy));
        control.stop();
        assert_eq!(ended(&control).await.phase, Phase::Stopped);
        assert!(control.result().is_none());
        experiment.start(LoadPlan::default()).expect("the place is free");
        assert_eq!(control.start(LoadPlan::default()), Err(StartError::Busy));
        assert!(experiment.settle(PATIENCE).await);
    }
}
