//! The handle to start, stop and watch sweeps.

use std::time::Duration;

use super::outcome::{SweepRun, millis};
use super::plan::SweepPlan;
use super::run;
use crate::load::StartError;
use crate::modes_control::ModesControl;

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
