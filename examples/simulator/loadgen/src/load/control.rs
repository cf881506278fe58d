//! The handle to start, stop and watch load, one run at a time.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use simulator_cli::CliError;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::client::{Reads, Target};
use super::engine::{self, Job, Leaves};
use super::outcome::LoadResult;
use super::plan::LoadPlan;
use super::progress::{LoadProgress, Phase};

/// Address prefix of the rows that runs share.
const PREFIX: &str = "load-";

/// Worker threads of the runtime that sends requests. It is separate from the runtime that serves them, so that a busy
/// server does not delay sending.
const WORKERS: usize = 2;

/// Why a run was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Another run or an experiment is in progress.
    Busy,
    /// The plan is invalid; the line says why.
    Invalid(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("a run is in progress: stop it first, or wait for its end"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

/// The single permit for a run or an experiment, held until it has ended.
pub type Place = Arc<Semaphore>;

/// Starts and stops runs. Clones share the same state.
#[derive(Clone, Debug)]
pub struct LoadControl {
    target: Target,
    leaves: Leaves,
    note: Option<Arc<Path>>,
    place: Place,
    progress: watch::Sender<LoadProgress>,
    last: Arc<Mutex<Last>>,
}

/// The current run and the last result.
#[derive(Debug, Default)]
struct Last {
    stop: CancellationToken,
    result: Option<Arc<LoadResult>>,
}

impl LoadControl {
    /// Creates a handle whose runs send their requests to `target`.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            leaves: Leaves::Rows,
            note: None,
            place: Arc::new(Semaphore::new(1)),
            progress: watch::Sender::new(LoadProgress::default()),
            last: Arc::default(),
        }
    }

    /// Removes the rows of a run at its end.
    #[must_use]
    pub fn removing_rows(self) -> Self {
        Self { leaves: Leaves::Nothing, ..self }
    }

    /// Notes in this file what a run that switches modes does, so that the next process takes it back if this one is killed.
    #[must_use]
    pub fn noting_in(self, note: &Path) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Starts a run and returns immediately.
    ///
    /// # Errors
    /// [`StartError`]. Later failures, such as an API that does not respond, are reported through
    /// [`LoadControl::watch`].
    pub fn start(&self, plan: LoadPlan) -> Result<(), StartError> {
        plan.check().map_err(StartError::Invalid)?;
        let permit = Arc::clone(&self.place).try_acquire_owned().map_err(|_| StartError::Busy)?;
        let stop = CancellationToken::new();
        let (target, prefix) = (self.target.clone(), PREFIX.to_owned());
        let job = Job { target, plan, prefix, leaves: self.leaves, shown_within: None, reads: Reads::Plain };
        self.last().stop = stop.clone();
        // Set here so that a caller that reads the progress right after the start sees it.
        self.progress.send_modify(|progress| {
            *progress = LoadProgress { run: progress.run, phase: Phase::Preparing, ..LoadProgress::default() };
        });
        let control = self.clone();
        spawn("load", move || async move {
            let result = engine::run(&job, &stop, &control.progress).await;
            if let Ok(result) = &result {
                control.last().result = Some(Arc::new(result.clone()));
            }
            // Before the end is published, so that a caller that sees it can start the next run.
            drop(permit);
            match result {
                Ok(result) => control.progress.send_modify(|progress| engine::close(progress, &result)),
                Err(error) => control.fail(if stop.is_cancelled() { Phase::Stopped } else { Phase::Failed }, &error),
            }
        })
        .map_err(|error| {
            self.fail(Phase::Failed, &error);
            StartError::Invalid(error.to_string())
        })
    }

    /// Ends the current run early. Its result covers what was measured so far. Returns false if there is no run.
    pub fn stop(&self) -> bool {
        let is_active = self.progress.borrow().phase.is_active();
        self.last().stop.cancel();
        is_active
    }

    /// Returns a receiver of the progress of this run and of later ones.
    pub fn watch(&self) -> watch::Receiver<LoadProgress> {
        self.progress.subscribe()
    }

    /// Returns the result of the last run that produced one.
    pub fn result(&self) -> Option<Arc<LoadResult>> {
        self.last().result.clone()
    }

    /// Returns the API that requests are sent to.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the file in which runs note what they do.
    pub(crate) fn note(&self) -> Option<&Arc<Path>> {
        self.note.as_ref()
    }

    /// Returns the permit that runs share with experiments.
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, phase: Phase, error: &CliError) {
        self.progress.send_modify(|progress| {
            progress.phase = phase;
            progress.message = Some(error.to_string());
        });
    }
}

/// Runs `work` on its own thread and runtime.
///
/// # Errors
/// If a thread cannot be started.
pub fn spawn<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Result<(), CliError>
where
    F: Future<Output = ()>,
{
    let failed = |error: std::io::Error| CliError::new(format!("cannot start a thread for {name}: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(failed)?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || runtime.block_on(work())).map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn ended(control: &LoadControl) -> LoadProgress {
        let mut progress = control.watch();
        let ended = progress.wait_for(|progress| !progress.phase.is_active());
        tokio::time::timeout(PATIENCE, ended).await.expect("an end in time").expect("a control").clone()
    }

    #[tokio::test]
    async fn a_failure_is_reported_and_the_next_run_may_start() {
        let control = LoadControl::new(Target { url: "http://127.0.0.1:1".into(), token: None });
        let wrong = LoadPlan { users: 0, ..LoadPlan::default() };
        assert!(matches!(control.start(wrong), Err(StartError::Invalid(why)) if why.contains("--users")));
        for _ in 0..2 {
            control.start(LoadPlan::default()).expect("a run");
            let ended = ended(&control).await;
            assert_eq!(ended.phase, Phase::Failed);
            assert!(ended.message.expect("a reason").contains("CACHEFRONT_API_URL"));
        }
    }
}
