//! Runs the sides one after the other.

use std::time::Duration;

use simulator_cli::CliError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outcome::{ExperimentProgress, ExperimentResult, ExperimentRun, Side};
use crate::load::progress::Phase;
use crate::load::{LoadPlan, LoadProgress, Reads};
use crate::modes::{Ended, Modes, with_modes};
use crate::modes_control::{ModesPhase, ModesRun};
use crate::unfinished::Site;

const STOPPED: &str = "the experiment was stopped: all sides have to run to be compared";

/// Runs all sides and restores the mode.
///
/// # Errors
/// A line that says how the API failed, or that the experiment was stopped. The mode is restored in both cases.
pub(super) async fn run(
    site: Site,
    plan: LoadPlan,
    stop: &CancellationToken,
    progress: &watch::Sender<ExperimentProgress>,
) -> Result<ExperimentResult, CliError> {
    let (of_run, progress_of_run) = (plan.clone(), progress.clone());
    let sides = |modes| async move { Run { modes, plan: of_run, progress: progress_of_run }.sides().await };
    let restoring = || progress.send_modify(|progress| progress.phase = ModesPhase::Restoring);
    let Ended { work, setup, restored } =
        with_modes(site, stop, ExperimentRun::KIND, STOPPED, sides, restoring).await?;
    Ok(ExperimentResult::new(plan, work, setup, restored))
}

/// One side: its name, the mode, and the cache that its reads go through.
type SideSpec = (&'static str, &'static str, Reads);

const SIDES: [SideSpec; 3] =
    [("ttl", "ttl", Reads::Plain), ("swr", "ttl", Reads::Revalidating), ("cdc", "cdc", Reads::Plain)];

/// State shared by all sides.
struct Run {
    modes: Modes,
    plan: LoadPlan,
    progress: watch::Sender<ExperimentProgress>,
}

impl Run {
    async fn sides(&self) -> Result<[Side; 3], CliError> {
        let [ttl, swr, cdc] = SIDES;
        Ok([self.side(ttl, 0).await?, self.side(swr, 1).await?, self.side(cdc, 2).await?])
    }

    async fn side(&self, spec: SideSpec, done: u32) -> Result<Side, CliError> {
        let (name, mode, reads) = spec;
        self.progress.send_modify(|progress| {
            (progress.phase, progress.run.side) = (ModesPhase::Switching, Some(name));
            progress.left_ms = millis(self.length() * (3 - done));
        });
        let in_force = self.modes.enter(name, mode).await?;
        let result = self.modes.measure(name, &self.plan, reads, |load| self.follow(load, done)).await?;
        let undisturbed = self.modes.is_undisturbed(&in_force).await;
        Ok(Side { name, undisturbed, result })
    }

    /// Copies the progress of the side's load.
    fn follow(&self, now: &LoadProgress, done: u32) {
        self.progress.send_modify(|progress| {
            progress.phase = ModesPhase::Running;
            progress.elapsed_ms = millis(self.length() * done) + now.elapsed_ms;
            let side = if now.phase == Phase::Preparing { millis(self.length()) } else { now.left_ms };
            progress.left_ms = side + millis(self.length() * (2 - done));
            progress.load = now.clone();
        });
    }

    fn length(&self) -> Duration {
        self.plan.length()
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
