//! The handle to start, stop and watch experiments.

use super::outcome::{ExperimentProgress, ExperimentResult};
use super::run;
use crate::load::{LoadPlan, StartError};
use crate::modes_control::{ModesControl, ModesPhase, ModesProgress};

/// Starts and stops experiments.
pub type ExperimentControl = ModesControl<ExperimentProgress>;

impl ExperimentControl {
    /// Starts an experiment and returns immediately. Each side takes the length of the plan: 30 s by default, 90 s in
    /// total.
    ///
    /// # Errors
    /// [`StartError`]. Later failures are reported through [`watch`](ModesControl::watch).
    pub fn start(&self, plan: LoadPlan) -> Result<(), StartError> {
        plan.check().map_err(StartError::Invalid)?;
        let begin = |progress: &mut ExperimentProgress| {
            let (run, phase) = (progress.run + 1, ModesPhase::Switching);
            *progress = ExperimentProgress { run, phase, side: Some("ttl"), ..ExperimentProgress::default() };
        };
        self.start_work("experiment", begin, |target, stop, progress| async move {
            run::run(target, plan, &stop, &progress).await
        })
    }
}

impl ModesProgress for ExperimentProgress {
    type Result = ExperimentResult;

    fn phase(&self) -> ModesPhase {
        self.phase
    }

    fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }

    fn line(&self) -> String {
        let side = self.side.unwrap_or("-");
        match self.phase {
            ModesPhase::Running => format!("{side}: {}", self.load.line()),
            ModesPhase::Restoring => "putting the mode back".to_owned(),
            _ => format!("{side}: switching the mode"),
        }
    }

    fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    fn end(&mut self, phase: ModesPhase, message: Option<String>) {
        (self.phase, self.message, self.left_ms, self.side) = (phase, message, 0, None);
    }

    fn note(&mut self, result: &ExperimentResult) -> Result<(), String> {
        self.verdict = Some(result.verdict.clone());
        result.restored.clone().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::load::progress::Phase;
    use crate::load::{LoadControl, LoadProgress, Target};

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
