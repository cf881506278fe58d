//! The handle to start, stop and watch sweeps.

use std::time::Duration;

use super::outcome::{SweepResult, millis};
use super::plan::SweepPlan;
use super::run;
use crate::load::StartError;
use crate::modes_control::{ModesControl, ModesProgress, ModesRun};

/// The measurement of a sweep that is made.
#[derive(Clone, Debug, Default)]
pub struct SweepRun {
    /// Its number, from 1, and how many there are.
    pub part: (u64, u64),
    /// What is measured, such as `TTL 5 s, seed 43`.
    pub name: String,
}

/// A snapshot of a sweep.
pub type SweepProgress = ModesProgress<SweepRun>;

/// Starts and stops sweeps.
pub type SweepControl = ModesControl<SweepRun>;

impl SweepControl {
    /// Starts a sweep and returns immediately. `length_max` bounds all of its measurements together.
    ///
    /// # Errors
    /// [`StartError`]. Later failures are reported through [`watch`](ModesControl::watch).
    pub fn start(&self, plan: SweepPlan, length_max: Duration) -> Result<(), StartError> {
        plan.check(length_max).map_err(StartError::Invalid)?;
        let run = SweepRun { part: (1, plan.parts()), ..SweepRun::default() };
        self.start_work(run, millis(plan.length()), |site, stop, progress| async move {
            run::run(site, plan, &stop, &progress).await
        })
    }
}

impl ModesRun for SweepRun {
    type Result = SweepResult;

    const KIND: &'static str = "sweep";

    fn part(&self) -> String {
        let (part, parts) = self.part;
        format!("{part}/{parts} {}", self.name)
    }

    fn restored(result: &SweepResult) -> &Result<String, String> {
        &result.restored
    }
}
