//! The handle by which a program runs load: start, stop, look on. One run at a time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use simulator_cli::CliError;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::client::Target;
use super::engine::{self, Job};
use super::outcome::LoadResult;
use super::plan::LoadPlan;
use super::progress::{LoadProgress, Phase};

/// Addresses of the rows that runs share.
const PREFIX: &str = "load-";

/// Workers of the runtime that sends the requests: it must not wait for the one that serves them.
const WORKERS: usize = 2;

/// Why a run was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Another run, or an experiment, is under way.
    Busy,
    /// A line that says what is wrong with the plan.
    Invalid(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("a run is under way: stop it first, or wait for its end"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

/// The one place for a run; a run holds it until its last task has ended.
pub type Place = Arc<Semaphore>;

/// Starts and stops runs. Clones control the same one.
#[derive(Clone, Debug)]
pub struct LoadControl {
    target: Target,
    place: Place,
    progress: watch::Sender<LoadProgress>,
    last: Arc<Mutex<Last>>,
}

/// The run under way, and the last result.
#[derive(Debug, Default)]
struct Last {
    stop: CancellationToken,
    result: Option<Arc<LoadResult>>,
}

impl LoadControl {
    /// Runs will send their requests to `target`.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            place: Arc::new(Semaphore::new(1)),
            progress: watch::Sender::new(LoadProgress::default()),
            last: Arc::default(),
        }
    }

    /// Starts a run and returns at once.
    ///
    /// # Errors
    /// [`StartError`]. What fails later, as an API that does not answer, is told by [`LoadControl::watch`].
    pub fn start(&self, plan: LoadPlan) -> Result<(), StartError> {
        plan.check().map_err(StartError::Invalid)?;
        let permit = Arc::clone(&self.place).try_acquire_owned().map_err(|_| StartError::Busy)?;
        let stop = CancellationToken::new();
        let job = Job { target: self.target.clone(), plan, prefix: PREFIX.to_owned(), removes_rows: false };
        self.last().stop = stop.clone();
        // Whoever looks right after the start sees it.
        self.progress.send_modify(|progress| {
            *progress = LoadProgress { run: progress.run, phase: Phase::Preparing, ..LoadProgress::default() };
        });
        let control = self.clone();
        spawn("load", move || async move {
            let result = engine::run(&job, &stop, &control.progress).await;
            if let Ok(result) = &result {
                control.last().result = Some(Arc::new(result.clone()));
            }
            // Whoever sees the end can have the result, and can start the next run.
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

    /// Ends the run early, if there is one. What was measured by then becomes its result.
    pub fn stop(&self) {
        self.last().stop.cancel();
    }

    /// Follows the run under way, and those after it.
    pub fn watch(&self) -> watch::Receiver<LoadProgress> {
        self.progress.subscribe()
    }

    /// The result of the last run that came to one.
    pub fn result(&self) -> Option<Arc<LoadResult>> {
        self.last().result.clone()
    }

    /// Where requests go.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The place that runs share with experiments.
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

/// Runs `work` on a thread and a runtime of its own.
///
/// # Errors
/// If the machine gives no thread.
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
    async fn what_fails_is_told_and_the_next_run_may_start() {
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
