//! Runs the measurements one after the other: first those by age, then those in CDC mode, so that the mode is switched twice.

use std::time::Duration;

use simulator_cli::CliError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outcome::{Measured, SweepProgress, SweepResult, SweepRun, millis, name};
use super::plan::SweepPlan;
use crate::load::progress::Phase;
use crate::load::{LoadProgress, Reads};
use crate::modes::{Modes, with_modes};
use crate::modes_control::{ModesPhase, ModesRun};
use crate::record::Measurement;
use crate::unfinished::Site;

const STOPPED: &str = "the sweep was stopped: every TTL has to be measured to be compared";

/// Runs all measurements and restores the mode.
///
/// # Errors
/// A line that says how the API failed, or that the sweep was stopped. The mode is restored in both cases.
pub(super) async fn run(
    site: Site,
    plan: SweepPlan,
    stop: &CancellationToken,
    progress: &watch::Sender<SweepProgress>,
) -> Result<SweepResult, CliError> {
    let (of_run, progress_of_run) = (plan.clone(), progress.clone());
    let measure = |modes| async move {
        let mut run = Run {
            modes,
            plan: of_run,
            progress: progress_of_run,
            started_at: None,
            parts: Vec::new(),
            not_counted: None,
        };
        let disturbed = run.all().await?;
        let Run { started_at, parts, not_counted, .. } = run;
        Ok(Measured { started_at: started_at.unwrap_or_default(), parts, disturbed, not_counted })
    };
    let restoring = || progress.send_modify(|progress| progress.phase = ModesPhase::Restoring);
    let ended = with_modes(site, stop, SweepRun::KIND, STOPPED, measure, restoring).await?;
    Ok(SweepResult::new(plan, ended))
}

struct Run {
    modes: Modes,
    plan: SweepPlan,
    progress: watch::Sender<SweepProgress>,
    started_at: Option<String>,
    parts: Vec<Measurement>,
    /// Why the loads of a measurement were not counted.
    not_counted: Option<&'static str>,
}

impl Run {
    /// Returns reservations about the mode.
    async fn all(&mut self) -> Result<Vec<String>, CliError> {
        let mut notes = Vec::new();
        let ttls: Vec<Option<Duration>> = self.plan.ttls.iter().copied().map(Some).collect();
        for (mode, lifetimes) in [("ttl", ttls), ("cdc", vec![None])] {
            self.switching(mode);
            let in_force = self.modes.enter(mode, mode).await?;
            for seed in 0..self.plan.seeds {
                for ttl in &lifetimes {
                    self.part(mode, *ttl, seed).await?;
                }
            }
            if !self.modes.is_undisturbed(&in_force).await {
                notes.push(format!("The mode was changed by another client in the {mode} part: repeat the sweep."));
            }
        }
        Ok(notes)
    }

    fn switching(&self, mode: &str) {
        let done = self.parts.len() as u64;
        self.progress.send_modify(|progress| {
            progress.phase = ModesPhase::Switching;
            progress.run.part = (done + 1, self.plan.parts());
            progress.run.name = mode.to_uppercase();
            progress.left_ms = self.left_after(done);
        });
    }

    async fn part(&mut self, mode: &str, ttl: Option<Duration>, seed: u64) -> Result<(), CliError> {
        let (done, plan, ttl_ms) = (self.parts.len() as u64, self.plan.with_seed(seed), ttl.map(millis));
        self.progress.send_modify(|progress| {
            progress.phase = ModesPhase::Running;
            progress.run.part = (done + 1, self.plan.parts());
            progress.run.name = format!("{}, seed {}", name(ttl_ms), plan.seed);
            progress.load = LoadProgress::default();
        });
        let reads = ttl.map_or(Reads::Plain, Reads::Aged);
        let rows = format!("{done}-{mode}");
        let result = self.modes.measure(&rows, &plan, reads, |load| self.follow(load, done)).await?;
        self.started_at.get_or_insert_with(|| result.started_at.clone());
        self.not_counted = self.not_counted.or(result.cache.not_measured);
        self.parts.push(Measurement::of(&result, Some(mode), ttl_ms));
        Ok(())
    }

    /// Copies the progress of a measurement.
    fn follow(&self, now: &LoadProgress, done: u64) {
        self.progress.send_modify(|progress| {
            progress.elapsed_ms = self.each().saturating_mul(done) + now.elapsed_ms;
            let current = if now.phase == Phase::Preparing { self.each() } else { now.left_ms };
            progress.left_ms = current + self.left_after(done + 1);
            progress.load = now.clone();
        });
    }

    fn each(&self) -> u64 {
        millis(self.plan.load.length())
    }

    fn left_after(&self, done: u64) -> u64 {
        self.each().saturating_mul(self.plan.parts().saturating_sub(done))
    }
}
