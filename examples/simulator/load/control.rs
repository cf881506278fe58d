//! The handle by which a program runs load: start, stop, look on. One run at a time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::client::Target;
use super::engine::{self, Job};
use super::outcome::LoadResult;
use super::plan::LoadPlan;
use super::progress::{LoadProgress, Phase};
use crate::config::Secret;
use crate::fatal::Fatal;

/// Addresses of the rows that runs share.
const PREFIX: &str = "load-";

/// Workers of the runtime that sends the requests: it must not wait for the one that serves them.
const WORKERS: usize = 2;

/// Why a run was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartError {
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
pub(crate) type Place = Arc<Semaphore>;

/// Starts and stops runs. Clones control the same one.
#[derive(Clone, Debug)]
pub(crate) struct LoadControl {
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
    /// Runs will send their requests to `api_url`, with `token` if there is one.
    pub(crate) fn new(api_url: impl Into<String>, token: Option<Secret>) -> Self {
        Self {
            target: Target { url: api_url.into(), token },
            place: Arc::new(Semaphore::new(1)),
            progress: watch::Sender::new(LoadProgress::default()),
            last: Arc::default(),
        }
    }

    /// Starts a run and returns at once.
    ///
    /// # Errors
    /// [`StartError`]. What fails later, as an API that does not answer, is told by [`LoadControl::watch`].
    pub(crate) fn start(&self, plan: LoadPlan) -> Result<(), StartError> {
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
    pub(crate) fn stop(&self) {
        self.last().stop.cancel();
    }

    /// Follows the run under way, and those after it.
    pub(crate) fn watch(&self) -> watch::Receiver<LoadProgress> {
        self.progress.subscribe()
    }

    /// The result of the last run that came to one.
    pub(crate) fn result(&self) -> Option<Arc<LoadResult>> {
        self.last().result.clone()
    }

    /// Where requests go.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The place that runs share with experiments.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, phase: Phase, error: &Fatal) {
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
pub(crate) fn spawn<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Result<(), Fatal>
where
    F: Future<Output = ()>,
{
    let failed = |error: std::io::Error| Fatal::new(format!("cannot start a thread for {name}: {error}"));
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
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::experiment::ExperimentControl;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn ended(control: &LoadControl) -> LoadProgress {
        let mut progress = control.watch();
        let ended = progress.wait_for(|progress| !progress.phase.is_active());
        tokio::time::timeout(PATIENCE, ended).await.expect("an end in time").expect("a control").clone()
    }

    #[tokio::test]
    async fn one_run_at_a_time_and_an_experiment_counts_as_one() {
        // It never answers.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", silent.local_addr().expect("an address"));
        let control = LoadControl::new(url, None);
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

    #[tokio::test]
    async fn what_fails_is_told_and_the_next_run_may_start() {
        let control = LoadControl::new("http://127.0.0.1:1", None);
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
