//! The handle to start, stop and watch sweeps.

use std::time::Duration;

use super::outcome::{SweepProgress, SweepResult, millis};
use super::plan::SweepPlan;
use super::run;
use crate::load::StartError;
use crate::modes_control::{ModesControl, ModesPhase, ModesProgress};

/// Starts and stops sweeps.
pub type SweepControl = ModesControl<SweepProgress>;

impl SweepControl {
    /// Starts a sweep and returns immediately. `length_max` bounds all of its measurements together.
    ///
    /// # Errors
    /// [`StartError`]. Later failures are reported through [`watch`](ModesControl::watch).
    pub fn start(&self, plan: SweepPlan, length_max: Duration) -> Result<(), StartError> {
        plan.check(length_max).map_err(StartError::Invalid)?;
        let (part, left_ms) = ((1, plan.parts()), millis(plan.length()));
        let begin = |progress: &mut SweepProgress| {
            let (phase, finished_at) = (ModesPhase::Switching, progress.finished_at.take());
            *progress = SweepProgress { phase, part, left_ms, finished_at, ..SweepProgress::default() };
        };
        self.start_work("sweep", begin, |target, stop, progress| async move {
            run::run(target, plan, &stop, &progress).await
        })
    }
}

impl ModesProgress for SweepProgress {
    type Result = SweepResult;

    fn phase(&self) -> ModesPhase {
        self.phase
    }

    fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }

    fn line(&self) -> String {
        let (part, parts) = self.part;
        match self.phase {
            ModesPhase::Running => format!("{part}/{parts} {}: {}", self.name, self.load.line()),
            ModesPhase::Restoring => "putting the mode back".to_owned(),
            _ => format!("{part}/{parts} {}: switching the mode", self.name),
        }
    }

    fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    fn end(&mut self, phase: ModesPhase, message: Option<String>) {
        (self.phase, self.message, self.left_ms) = (phase, message, 0);
    }

    fn note(&mut self, result: &SweepResult) -> Result<(), String> {
        self.finished_at = Some(result.started_at.clone());
        result.restored.clone().map(drop)
    }
}
