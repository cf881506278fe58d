//! The handle to start, stop and watch experiments.

use super::outcome::ExperimentRun;
use super::run::{self, millis};
use crate::load::{LoadPlan, StartError};
use crate::modes_control::ModesControl;

/// Starts and stops experiments.
pub type ExperimentControl = ModesControl<ExperimentRun>;

impl ExperimentControl {
    /// Starts an experiment and returns immediately. Each side takes the length of the plan: 30 s by default, 90 s in
    /// total.
    ///
    /// # Errors
    /// [`StartError`]. Later failures are reported through [`watch`](ModesControl::watch).
    pub fn start(&self, plan: LoadPlan) -> Result<(), StartError> {
        plan.check().map_err(StartError::Invalid)?;
        let (run, left_ms) = (ExperimentRun { side: Some("ttl") }, millis(plan.length() * 3));
        self.start_work(
            run,
            left_ms,
            |site, stop, progress| async move { run::run(site, plan, &stop, &progress).await },
        )
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
