//! Runs the sides one after the other, and always restores the mode.

use std::time::Duration;

use simulator_cli::CliError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outcome::{ExperimentPhase, ExperimentProgress, ExperimentResult, Side};
use crate::load::progress::Phase;
use crate::load::{Client, Job, LoadPlan, LoadProgress, ModeView, Row, Target, execute};

/// Timeout of a request to the API.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time until a mode switch is in force in all processes.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// How long to wait after a mode switch until the cache keeps entries, before giving up.
const KEEPS_WITHIN: Duration = Duration::from_secs(15);

/// Pause between two checks of the cache.
const LOOK: Duration = Duration::from_millis(20);

/// Maximum number of attempts to restore the mode, and the pause between them.
const ATTEMPTS: u32 = 5;
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Runs all sides and restores the mode.
///
/// # Errors
/// A line that says how the API failed, or that the experiment was stopped. The mode is restored in both cases.
pub(super) async fn run(
    target: Target,
    plan: LoadPlan,
    stop: &CancellationToken,
    progress: &watch::Sender<ExperimentProgress>,
) -> Result<ExperimentResult, CliError> {
    let client = Client::new(&target, TIMEOUT, 4)?;
    let (found, caches) = (client.mode().await?, client.caches().await);
    let number = getrandom::u32().map_err(|error| CliError::new(error.to_string()))?;
    let prefix = format!("ab-{number:08x}-");
    let run = Run {
        client: client.clone(),
        target,
        plan: plan.clone(),
        stop: stop.clone(),
        progress: progress.clone(),
        prefix: prefix.clone(),
    };
    // In its own task, so that the mode is restored even after a panic.
    let (sender, last) = watch::channel(found.clone());
    let ended = tokio::spawn(async move { run.sides(&sender).await }).await;
    progress.send_modify(|progress| progress.phase = ExperimentPhase::Restoring);
    let ours = last.borrow().clone();
    let restored = restore(&client, &found, &ours).await;
    // A side removes its own rows; a request that was in progress at an interruption may have left one more.
    client.remove_all(&prefix).await;
    let ended = ended.unwrap_or_else(|_| Err(CliError::new("the experiment ended by an error of its own")));
    match (ended, restored) {
        (Ok(sides), restored) => {
            Ok(ExperimentResult::new(plan, sides, caches, restored.map_err(|error| error.to_string())))
        }
        (Err(error), Ok(_)) => Err(error),
        (Err(_), Err(error)) => Err(error),
    }
}

/// Restores the mode that was found, unless another client has changed it since. Returns the mode in force.
async fn restore(client: &Client, found: &ModeView, ours: &ModeView) -> Result<String, CliError> {
    let mut last = CliError::new("the mode was not read");
    for _ in 0..ATTEMPTS {
        match client.mode().await {
            Ok(now) if now.mode == found.mode || now.version != ours.version => return Ok(now.mode),
            Ok(now) => match client.set_mode(&found.mode, Some(now.version)).await {
                Ok(Some(_)) => return Ok(found.mode.clone()),
                // Another client changed the mode in between: read it again.
                Ok(None) => {}
                Err(error) => last = error,
            },
            Err(error) => last = error,
        }
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
    let mode = &found.mode;
    Err(CliError::new(format!("the mode was {mode} and could not be put back: switch it to {mode} yourself; {last}")))
}

/// One side: its name, the mode, and whether reads go through the cache that serves an expired value while it loads it.
type SideSpec = (&'static str, &'static str, bool);

const SIDES: [SideSpec; 3] = [("ttl", "ttl", false), ("swr", "ttl", true), ("cdc", "cdc", false)];

/// State shared by all sides.
struct Run {
    client: Client,
    target: Target,
    plan: LoadPlan,
    stop: CancellationToken,
    progress: watch::Sender<ExperimentProgress>,
    /// Address prefix of all rows of this experiment.
    prefix: String,
}

impl Run {
    async fn sides(&self, ours: &watch::Sender<ModeView>) -> Result<[Side; 3], CliError> {
        let [ttl, swr, cdc] = SIDES;
        Ok([self.side(ttl, 0, ours).await?, self.side(swr, 1, ours).await?, self.side(cdc, 2, ours).await?])
    }

    async fn side(&self, spec: SideSpec, done: u32, ours: &watch::Sender<ModeView>) -> Result<Side, CliError> {
        let (name, mode, revalidates) = spec;
        self.progress.send_modify(|progress| {
            (progress.phase, progress.side) = (ExperimentPhase::Switching, Some(name));
            progress.left_ms = millis(self.length() * (3 - done));
        });
        // Must not be cancelled: a switch whose response was never read could not be distinguished from another
        // client's.
        let in_force = self.switch(mode, ours).await?;
        tokio::select! {
            kept = self.until_in_force(name, mode) => kept?,
            () = self.stop.cancelled() => return Err(stopped()),
        }
        let job = Job {
            target: self.target.clone(),
            plan: self.plan.clone(),
            prefix: format!("{}{name}-", self.prefix),
            removes_rows: true,
            shown_within: Some(KEEPS_WITHIN),
            revalidates,
        };
        let load = watch::Sender::new(LoadProgress::default());
        let follow = self.follow(load.subscribe(), done);
        let result = tokio::select! {
            result = execute(&job, &self.stop, &load) => result?,
            () = follow => return Err(CliError::new("the side ended without a result")),
        };
        if result.stopped {
            return Err(stopped());
        }
        let undisturbed = self.client.mode().await.is_ok_and(|now| now == in_force);
        Ok(Side { name, undisturbed, result })
    }

    async fn switch(&self, mode: &str, ours: &watch::Sender<ModeView>) -> Result<ModeView, CliError> {
        let now = self.client.mode().await?;
        let in_force = match now.mode == mode {
            true => now,
            false => {
                let Some(set) = self.client.set_mode(mode, Some(now.version)).await? else {
                    return Err(CliError::new("another client has just changed the mode: start again"));
                };
                set
            }
        };
        ours.send_replace(in_force.clone());
        Ok(in_force)
    }

    /// Waits until every process has switched the mode and the cache keeps entries.
    async fn until_in_force(&self, name: &str, mode: &str) -> Result<(), CliError> {
        tokio::time::sleep(ELSEWHERE).await;
        let rows = self.client.rows(&format!("{}look-{name}-", self.prefix), 1).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        tokio::time::timeout(KEEPS_WITHIN, self.until_kept(row)).await.map_err(|_| {
            CliError::new(format!(
                "the cache keeps nothing in {mode} mode within {KEEPS_WITHIN:?}: look at GET /pipeline, is it running?"
            ))
        })
    }

    async fn until_kept(&self, row: &Row) {
        loop {
            self.client.until_shown(row.id).await;
            if self.client.state(row.id).await.is_ok_and(|state| state == "healthy") {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Copies the progress of the side's load until its sender is dropped.
    async fn follow(&self, mut load: watch::Receiver<LoadProgress>, done: u32) {
        while load.changed().await.is_ok() {
            let now = load.borrow_and_update().clone();
            self.progress.send_modify(|progress| {
                progress.phase = ExperimentPhase::Running;
                progress.elapsed_ms = millis(self.length() * done) + now.elapsed_ms;
                let side = if now.phase == Phase::Preparing { millis(self.length()) } else { now.left_ms };
                progress.left_ms = side + millis(self.length() * (2 - done));
                progress.load = now;
            });
        }
    }

    fn length(&self) -> Duration {
        self.plan.length()
    }
}

fn stopped() -> CliError {
    CliError::new("the experiment was stopped: all sides have to run to be compared")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
