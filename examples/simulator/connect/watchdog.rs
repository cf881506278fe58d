//! Follows the connector's tasks and starts those again that failed.
//!
//! The state of the connector itself says nothing: it stays `RUNNING` while its only task is `FAILED`, as after an
//! orderly restart of MySQL, and nobody but us starts the task again.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rest::{Rest, RestError, Status};

/// How a watchdog works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchdogSettings {
    /// The time between two looks.
    pub(crate) every: Duration,
    /// The pause after a first restart that did not help; it doubles.
    pub(crate) retry_min: Duration,
    /// The longest pause between two restarts: a restart costs little, and nothing is invalidated until one succeeds.
    pub(crate) retry_max: Duration,
    /// A task that ran for this long has recovered: the next restart comes at once.
    pub(crate) recovered_after: Duration,
}

impl Default for WatchdogSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(5),
            recovered_after: Duration::from_secs(60),
        }
    }
}

/// What is known of the connector. It holds no secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectorState {
    /// What Kafka Connect says of the connector itself: `RUNNING`, `PAUSED`, ...; nothing while it does not answer.
    pub(crate) connector: Option<String>,
    /// The same of each task.
    pub(crate) tasks: Vec<String>,
    /// Which worker has the connector.
    pub(crate) worker: String,
    /// Why something does not run, in one line.
    pub(crate) trouble: Option<String>,
    /// How often something was started again since the watchdog began.
    pub(crate) restarts: u64,
}

impl ConnectorState {
    /// True if the connector and all its tasks run.
    pub(crate) fn is_running(&self) -> bool {
        let running = |state: &String| state == "RUNNING";
        self.connector.as_ref().is_some_and(running) && !self.tasks.is_empty() && self.tasks.iter().all(running)
    }
}

impl fmt::Display for ConnectorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connector = self.connector.as_deref().unwrap_or("unknown");
        write!(f, "{connector}, tasks [{}], restarts {}", self.tasks.join(", "), self.restarts)?;
        match &self.trouble {
            Some(trouble) => write!(f, ", {trouble}"),
            None => Ok(()),
        }
    }
}

/// A handle to the connector that is being followed.
#[derive(Clone, Debug)]
pub(crate) struct Watchdog {
    rest: Rest,
    name: String,
    states: watch::Receiver<ConnectorState>,
}

impl Watchdog {
    /// Follows the connector `name` until `stop`.
    pub(crate) fn spawn(
        rest: Rest,
        name: &str,
        settings: WatchdogSettings,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (sender, states) = watch::channel(ConnectorState::default());
        let handle = Self { rest: rest.clone(), name: name.to_owned(), states };
        let follower =
            Follower { rest, name: name.to_owned(), settings, sender, retry: Retry::default(), logged: None };
        (handle, tokio::spawn(async move { stop.run_until_cancelled_owned(follower.run()).await.unwrap_or_default() }))
    }

    /// The connector's states from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<ConnectorState> {
        self.states.clone()
    }
}

impl Watchdog {
    /// The connector stops to read until it is resumed; it keeps its place.
    ///
    /// # Errors
    /// If Kafka Connect does not do it.
    pub(crate) async fn pause(&self) -> Result<(), RestError> {
        self.rest.pause(&self.name).await
    }

    /// A connector that was paused reads on.
    ///
    /// # Errors
    /// If Kafka Connect does not do it.
    pub(crate) async fn resume(&self) -> Result<(), RestError> {
        self.rest.resume(&self.name).await
    }

    /// Starts the connector and its tasks again, whatever they do.
    ///
    /// # Errors
    /// If Kafka Connect does not do it.
    pub(crate) async fn restart(&self) -> Result<(), RestError> {
        self.rest.restart(&self.name, true).await
    }
}

struct Follower {
    rest: Rest,
    name: String,
    settings: WatchdogSettings,
    sender: watch::Sender<ConnectorState>,
    retry: Retry,
    /// The trouble that stands in the log already.
    logged: Option<String>,
}

/// When a failed task may be started again.
#[derive(Debug, Default)]
struct Retry {
    not_before: Option<Instant>,
    pause: Duration,
    running_since: Option<Instant>,
}

impl Retry {
    /// True if it is time; the next time is then later.
    fn is_due(&mut self, now: Instant, settings: &WatchdogSettings) -> bool {
        if self.running_since.take().is_some_and(|since| now - since >= settings.recovered_after) {
            *self = Self::default();
        }
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return false;
        }
        self.pause = (2 * self.pause).clamp(settings.retry_min, settings.retry_max);
        self.not_before = Some(now + self.pause);
        true
    }

    fn runs(&mut self, now: Instant) {
        self.running_since.get_or_insert(now);
    }
}

impl Follower {
    async fn run(mut self) {
        loop {
            let state = self.look().await;
            self.log(&state);
            self.sender.send_if_modified(|kept| {
                let changed = *kept != state;
                *kept = state;
                changed
            });
            tokio::time::sleep(self.settings.every).await;
        }
    }

    async fn look(&mut self) -> ConnectorState {
        let restarts = self.sender.borrow().restarts;
        match self.rest.status(&self.name).await {
            Ok(status) => {
                let restarted = self.attend_to(&status).await;
                described(&status, restarts + u64::from(restarted))
            }
            Err(error) => {
                let trouble = Some(format!("Kafka Connect at {}: {error}", self.rest.host()));
                ConnectorState { trouble, restarts, ..ConnectorState::default() }
            }
        }
    }

    /// Starts again what failed, if it is time. True if it did.
    async fn attend_to(&mut self, status: &Status) -> bool {
        let now = Instant::now();
        let Some(failed) = status.failed() else {
            if status.is_running() {
                self.retry.runs(now);
            }
            return false;
        };
        if !self.retry.is_due(now, &self.settings) {
            return false;
        }
        tracing::info!(connector = self.name, cause = failed.cause(), "a failed task is started again");
        match self.rest.restart(&self.name, false).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(connector = self.name, %error, "a failed task cannot be started again");
                false
            }
        }
    }

    /// Each trouble once, and its end.
    fn log(&mut self, state: &ConnectorState) {
        if self.logged == state.trouble {
            return;
        }
        match &state.trouble {
            Some(trouble) => tracing::warn!(connector = self.name, trouble, "the connector does not run"),
            None if state.is_running() => tracing::info!(connector = self.name, "the connector runs again"),
            // Between the two: not worth a line.
            None => return,
        }
        self.logged.clone_from(&state.trouble);
    }
}

fn described(status: &Status, restarts: u64) -> ConnectorState {
    ConnectorState {
        connector: Some(status.connector.state.clone()),
        tasks: status.tasks.iter().map(|task| task.state.clone()).collect(),
        worker: status.connector.worker_id.clone(),
        trouble: status.failed().map(super::rest::Part::cause),
        restarts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: WatchdogSettings = WatchdogSettings {
        every: Duration::from_secs(1),
        retry_min: Duration::from_secs(1),
        retry_max: Duration::from_secs(4),
        recovered_after: Duration::from_secs(60),
    };

    #[test]
    fn pauses_double_up_to_their_bound_and_end_with_recovery() {
        let mut retry = Retry::default();
        let begun = Instant::now();
        let mut restarts = Vec::new();
        for second in 0..16 {
            if retry.is_due(begun + Duration::from_secs(second), &SETTINGS) {
                restarts.push(second);
            }
        }
        assert_eq!(restarts, [0, 1, 3, 7, 11, 15]);
        retry.runs(begun + Duration::from_secs(16));
        assert!(!retry.is_due(begun + Duration::from_secs(17), &SETTINGS), "it ran for a second only");
        retry.runs(begun + Duration::from_secs(20));
        assert!(retry.is_due(begun + Duration::from_secs(80), &SETTINGS));
        assert!(retry.is_due(begun + Duration::from_secs(81), &SETTINGS), "the pause is short again");
    }

    #[test]
    fn a_failed_task_counts_although_the_connector_says_that_it_runs() {
        let said = r#"{"name":"c","connector":{"state":"RUNNING","worker_id":"w:1"},"tasks":[{"id":0,"state":"FAILED",
            "worker_id":"w:1","trace":"org.Outer: first\n\tat x\nCaused by: org.Inner: it\n\tat y"}]}"#;
        let status: Status = serde_json::from_str(said).expect("a status");
        let state = described(&status, 3);
        assert!(!state.is_running());
        assert_eq!(state.to_string(), "RUNNING, tasks [FAILED], restarts 3, org.Inner: it");
        assert_eq!(status.failed().expect("a task").trace_lines()[0], "org.Outer: first");
    }
}
