//! Follows the connector's tasks and starts those again that failed.
//!
//! The state of the connector itself says nothing: it stays `RUNNING` while its only task is `FAILED`, as after an
//! orderly restart of MySQL, and nobody but us starts the task again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rest::{self, Part, Rest, RestError, Status};

/// The configuration is read again after so many looks: it changes rarely.
const CONFIG_EVERY: u32 = 10;

/// How a watchdog works.
#[derive(Clone, Copy, Debug)]
pub struct WatchdogSettings {
    /// Whether what failed is started again. Without it the watchdog only looks.
    pub restarts: bool,
    /// The time between two looks.
    pub every: Duration,
    /// The pause after a first restart that did not help; it doubles.
    pub retry_min: Duration,
    /// The longest pause between two restarts: a restart costs little, and nothing is invalidated until one succeeds.
    pub retry_max: Duration,
    /// A task that ran for this long has recovered: the next restart comes at once.
    pub recovered_after: Duration,
}

impl Default for WatchdogSettings {
    fn default() -> Self {
        Self {
            restarts: true,
            every: Duration::from_secs(1),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(5),
            recovered_after: Duration::from_secs(60),
        }
    }
}

/// What is known of the connector. It holds no secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorState {
    /// What Kafka Connect says of the connector itself: `RUNNING`, `PAUSED`, ...; nothing while it does not answer.
    pub connector: Option<String>,
    /// The first lines of why the connector itself failed.
    pub trace: Vec<String>,
    /// Its tasks.
    pub tasks: Vec<TaskState>,
    /// Which worker has the connector.
    pub worker: String,
    /// Why something does not run, in one line.
    pub trouble: Option<String>,
    /// How often this process started something again since the watchdog began.
    pub restarts: u64,
    /// How the connector is configured, by name, as far as that was ever answered.
    pub config: Arc<BTreeMap<String, String>>,
}

/// One task of the connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskState {
    pub number: u32,
    pub state: String,
    /// Which worker has the task.
    pub worker: String,
    /// The first lines of why it failed.
    pub trace: Vec<String>,
}

impl TaskState {
    fn of(part: &Part) -> Self {
        Self { number: part.id, state: part.state.clone(), worker: part.worker_id.clone(), trace: trace_of(part) }
    }

    pub fn has_failed(&self) -> bool {
        self.state == "FAILED"
    }
}

/// Only what failed has a trace.
fn trace_of(part: &Part) -> Vec<String> {
    if part.state == "FAILED" { part.trace_lines() } else { Vec::new() }
}

impl ConnectorState {
    /// True if the connector and all its tasks run.
    pub fn is_running(&self) -> bool {
        let runs = |task: &TaskState| task.state == "RUNNING";
        self.connector.as_deref() == Some("RUNNING") && !self.tasks.is_empty() && self.tasks.iter().all(runs)
    }

    /// True if somebody paused or stopped it: nothing is broken.
    pub fn is_paused(&self) -> bool {
        self.connector.as_deref().is_some_and(rest::is_paused)
    }

    /// True if the connector itself or one of its tasks failed.
    pub fn has_failed(&self) -> bool {
        self.connector.as_deref() == Some("FAILED") || self.tasks.iter().any(TaskState::has_failed)
    }
}

impl fmt::Display for ConnectorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connector = self.connector.as_deref().unwrap_or("unknown");
        let tasks: Vec<&str> = self.tasks.iter().map(|task| task.state.as_str()).collect();
        write!(f, "{connector}, tasks [{}], restarts {}", tasks.join(", "), self.restarts)?;
        match &self.trouble {
            Some(trouble) => write!(f, ", {trouble}"),
            None => Ok(()),
        }
    }
}

/// A handle to the connector that is being followed.
#[derive(Clone, Debug)]
pub struct Watchdog {
    rest: Rest,
    name: String,
    states: watch::Receiver<ConnectorState>,
}

impl Watchdog {
    /// Follows the connector `name` until `stop`.
    pub fn spawn(
        rest: Rest,
        name: &str,
        settings: WatchdogSettings,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (sender, states) = watch::channel(ConnectorState::default());
        let handle = Self { rest: rest.clone(), name: name.to_owned(), states };
        let follower =
            Follower { rest, name: name.to_owned(), settings, sender, retry: Retry::default(), logged: None, looks: 0 };
        (handle, tokio::spawn(async move { stop.run_until_cancelled_owned(follower.run()).await.unwrap_or_default() }))
    }

    /// The connector's states from now on.
    pub fn watch(&self) -> watch::Receiver<ConnectorState> {
        self.states.clone()
    }
}

impl Watchdog {
    /// The connector stops to read until it is resumed; it keeps its place.
    ///
    /// # Errors
    /// If Kafka Connect does not do it.
    pub async fn pause(&self) -> Result<(), RestError> {
        self.rest.pause(&self.name).await
    }

    /// A connector that was paused reads on.
    ///
    /// # Errors
    /// If Kafka Connect does not do it.
    pub async fn resume(&self) -> Result<(), RestError> {
        self.rest.resume(&self.name).await
    }

    /// Starts the connector and its tasks again, whatever they do.
    ///
    /// # Errors
    /// If Kafka Connect does not do it.
    pub async fn restart(&self) -> Result<(), RestError> {
        self.rest.restart(&self.name, true).await
    }

    /// Starts one task again, whatever it does.
    ///
    /// # Errors
    /// If Kafka Connect does not do it, or knows no such task.
    pub async fn restart_task(&self, task: u32) -> Result<(), RestError> {
        self.rest.restart_task(&self.name, task).await
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
    looks: u32,
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
        let (restarts, config) = {
            let last = self.sender.borrow();
            (last.restarts, Arc::clone(&last.config))
        };
        match self.rest.status(&self.name).await {
            Ok(status) => {
                let restarted = self.attend_to(&status).await;
                let config = self.config(config).await;
                described(&status, restarts + u64::from(restarted), config)
            }
            Err(error) => {
                let trouble = Some(format!("Kafka Connect at {}: {error}", self.rest.host()));
                ConnectorState { trouble, restarts, config, ..ConnectorState::default() }
            }
        }
    }

    /// The configuration, read now and then; what was known stays if it cannot be read.
    async fn config(&mut self, known: Arc<BTreeMap<String, String>>) -> Arc<BTreeMap<String, String>> {
        let due = known.is_empty() || self.looks.is_multiple_of(CONFIG_EVERY);
        self.looks = self.looks.wrapping_add(1);
        match due {
            true => self.rest.config(&self.name).await.map_or(known, Arc::new),
            false => known,
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
        if !self.settings.restarts || !self.retry.is_due(now, &self.settings) {
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

fn described(status: &Status, restarts: u64, config: Arc<BTreeMap<String, String>>) -> ConnectorState {
    ConnectorState {
        connector: Some(status.connector.state.clone()),
        trace: trace_of(&status.connector),
        tasks: status.tasks.iter().map(TaskState::of).collect(),
        worker: status.connector.worker_id.clone(),
        trouble: status.failed().map(Part::cause),
        restarts,
        config,
    }
}

#[cfg(test)]
mod tests {
    use simulator_cli::Environment;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::settings::{Backend, Flags, Settings};

    const SETTINGS: WatchdogSettings = WatchdogSettings {
        restarts: true,
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
        let state = described(&status, 3, Arc::default());
        assert!(!state.is_running() && state.has_failed() && !state.is_paused());
        assert_eq!(state.tasks[0].trace[0], "org.Outer: first");
        assert_eq!(state.to_string(), "RUNNING, tasks [FAILED], restarts 3, org.Inner: it");
        assert_eq!(status.failed().expect("a task").trace_lines()[0], "org.Outer: first");
    }

    /// A Kafka Connect whose task has failed: it answers every question with its status, and says what it was told.
    async fn failing_connect() -> (Rest, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (told, orders) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1_024];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(request.get(..read).unwrap_or_default()).into_owned();
                let _ = told.send(text.lines().next().unwrap_or_default().to_owned());
                let body = r#"{"connector":{"state":"RUNNING"},"tasks":[{"id":0,"state":"FAILED","trace":"t"}]}"#;
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        let pairs = [("CACHEFRONT_MYSQL_URL", "mysql://u@db/shop"), ("CACHEFRONT_CONNECT_URL", url.as_str())];
        let settings = Settings::resolve(false, &Flags::default(), &Environment::of(&pairs)).expect("settings");
        let Backend::Stack(stack) = settings.backend else { panic!("on servers") };
        (Rest::new(&stack.kafka, Duration::from_secs(10)).expect("a client"), orders)
    }

    #[tokio::test]
    async fn only_who_restarts_starts_again_what_failed() {
        for restarts in [false, true] {
            let (rest, mut orders) = failing_connect().await;
            let settings = WatchdogSettings { restarts, every: Duration::from_millis(5), ..SETTINGS };
            let stop = CancellationToken::new();
            let (watchdog, following) = Watchdog::spawn(rest, "c", settings, stop.clone());
            let mut looks = Vec::new();
            while looks.len() < 8 {
                looks.push(orders.recv().await.expect("a request"));
            }
            let restarted = looks.iter().filter(|look| look.starts_with("POST /connectors/c/restart?")).count();
            assert_eq!(restarted, usize::from(restarts), "{looks:?}");
            assert!(watchdog.watch().borrow().has_failed());
            stop.cancel();
            following.await.expect("an end");
        }
    }

    #[test]
    fn a_connector_that_was_paused_or_stopped_on_purpose_is_not_broken() {
        for said in ["PAUSED", "STOPPED"] {
            let said = format!(r#"{{"connector":{{"state":"{said}"}},"tasks":[]}}"#);
            let status: Status = serde_json::from_str(&said).expect("a status");
            let state = described(&status, 0, Arc::default());
            assert!(state.is_paused() && !state.has_failed() && !state.is_running());
        }
    }
}
