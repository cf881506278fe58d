//! Follows the connector's tasks and restarts those that failed.
//!
//! The connector itself stays `RUNNING` while its only task is `FAILED`, for example after an orderly restart of MySQL, and
//! Kafka Connect does not restart the task by itself.
//!
//! Each poll costs one request to the worker (`GET /connectors/<name>/status`), and one more every
//! tenth time for the configuration. A failed task is restarted at once the first time, then after
//! pauses that double from `retry_min` to `retry_max`. Restarting is harmless to correctness: the
//! connector continues at its last committed position, and repeated events count once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::client::ConnectClient;
use super::error::ConnectError;
use super::status::{self, ConnectorStatus, PartStatus};
pub use settings::WatchdogSettings;

mod settings;

/// Number of polls between two reads of the configuration, which changes rarely.
const CONFIG_EVERY: u32 = 10;

/// The state of a connector as the watchdog last saw it, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectorState {
    /// The state of the connector itself, such as `RUNNING` or `PAUSED`; `None` while Kafka Connect does not respond.
    pub connector: Option<String>,
    /// The first lines of the connector's own stack trace, if it failed.
    pub trace: Vec<String>,
    /// Its tasks.
    pub tasks: Vec<TaskState>,
    /// The worker that runs the connector.
    pub worker: String,
    /// Why the connector does not run, in one line.
    pub trouble: Option<String>,
    /// Number of restarts by this watchdog.
    pub restarts: u64,
    /// The connector's settings, by name; empty until they were read once.
    pub config: Arc<BTreeMap<String, String>>,
}

/// One task of the connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskState {
    /// The task's number.
    pub number: u32,
    /// `RUNNING`, `PAUSED`, `FAILED`, …
    pub state: String,
    /// The worker that runs the task.
    pub worker: String,
    /// The first lines of its stack trace, if it failed.
    pub trace: Vec<String>,
}

impl TaskState {
    /// The part of a status that is shown.
    fn of(part: &PartStatus) -> Self {
        Self { number: part.id, state: part.state.clone(), worker: part.worker_id.clone(), trace: trace_of(part) }
    }

    /// Returns true if the task has failed.
    pub fn has_failed(&self) -> bool {
        self.state == "FAILED"
    }
}

/// Returns the stack trace of a failed part.
fn trace_of(part: &PartStatus) -> Vec<String> {
    if part.has_failed() { part.trace_lines() } else { Vec::new() }
}

impl ConnectorState {
    /// Returns true if the connector, at least one task, and all tasks run.
    pub fn is_running(&self) -> bool {
        let runs = |task: &TaskState| task.state == "RUNNING";
        self.connector.as_deref() == Some("RUNNING") && !self.tasks.is_empty() && self.tasks.iter().all(runs)
    }

    /// Returns true if the connector was paused or stopped on purpose.
    pub fn is_paused(&self) -> bool {
        self.connector.as_deref().is_some_and(status::is_paused)
    }

    /// Returns true if the connector itself or one of its tasks has failed.
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

/// A handle to a connector that is being followed.
///
/// See the [module's example](self).
#[derive(Clone, Debug)]
pub struct Watchdog {
    client: ConnectClient,
    name: String,
    states: watch::Receiver<ConnectorState>,
}

impl Watchdog {
    /// Spawns a task that follows the connector `name` until `shutdown` completes. It ends even if handles remain.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(
        client: ConnectClient,
        name: impl Into<String>,
        settings: WatchdogSettings,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> (Self, JoinHandle<()>) {
        let (sender, states) = watch::channel(ConnectorState::default());
        let name = name.into();
        let handle = Self { client: client.clone(), name: name.clone(), states };
        let settings = settings.bounded();
        let follower = Follower { client, name, settings, sender, retry: Retry::default(), logged: None, polls: 0 };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = shutdown => {}
                () = follower.run() => {}
            }
        });
        (handle, task)
    }

    /// Returns a receiver of the connector's states. The first one is empty until the first poll.
    pub fn watch(&self) -> watch::Receiver<ConnectorState> {
        self.states.clone()
    }

    /// Pauses the connector; it keeps its position in the log.
    ///
    /// # Errors
    /// [`ConnectError`], as [`ConnectClient::pause`].
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn pause(&self) -> Result<(), ConnectError> {
        self.client.pause(&self.name).await
    }

    /// Resumes a connector that was paused.
    ///
    /// # Errors
    /// [`ConnectError`], as [`ConnectClient::resume`].
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn resume(&self) -> Result<(), ConnectError> {
        self.client.resume(&self.name).await
    }

    /// Restarts the connector and all its tasks.
    ///
    /// # Errors
    /// [`ConnectError`], as [`ConnectClient::restart`].
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn restart(&self) -> Result<(), ConnectError> {
        self.client.restart(&self.name).await
    }

    /// Restarts one task.
    ///
    /// # Errors
    /// [`ConnectError`], as [`ConnectClient::restart_task`].
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn restart_task(&self, task: u32) -> Result<(), ConnectError> {
        self.client.restart_task(&self.name, task).await
    }
}

/// The task behind a [`Watchdog`].
struct Follower {
    client: ConnectClient,
    name: String,
    settings: WatchdogSettings,
    sender: watch::Sender<ConnectorState>,
    retry: Retry,
    /// The trouble that was logged last.
    logged: Option<String>,
    polls: u32,
}

/// When a failed task may be restarted.
#[derive(Debug, Default)]
struct Retry {
    not_before: Option<Instant>,
    pause: Duration,
    running_since: Option<Instant>,
}

impl Retry {
    /// Returns true if a restart is due, and schedules the next one.
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

    /// Notes since when all tasks run.
    fn runs(&mut self, now: Instant) {
        self.running_since.get_or_insert(now);
    }
}

impl Follower {
    /// Polls until it is dropped.
    async fn run(mut self) {
        loop {
            let state = self.poll().await;
            self.log(&state);
            self.sender.send_if_modified(|kept| {
                let changed = *kept != state;
                *kept = state;
                changed
            });
            sleep(self.settings.poll_interval).await;
        }
    }

    /// A worker that does not reply is a trouble too, and no restart.
    async fn poll(&mut self) -> ConnectorState {
        let (restarts, config) = {
            let last = self.sender.borrow();
            (last.restarts, Arc::clone(&last.config))
        };
        match self.client.status(&self.name).await {
            Ok(status) => {
                let restarted = self.restart_if_due(&status).await;
                let config = self.config(config).await;
                state_of(&status, restarts + u64::from(restarted), config)
            }
            Err(error) => {
                let trouble = Some(format!("{} ({})", error.summary(), self.client.host()));
                ConnectorState { trouble, restarts, config, ..ConnectorState::default() }
            }
        }
    }

    /// Returns the configuration, read every [`CONFIG_EVERY`] polls; the known one if it cannot be read.
    async fn config(&mut self, known: Arc<BTreeMap<String, String>>) -> Arc<BTreeMap<String, String>> {
        let due = known.is_empty() || self.polls.is_multiple_of(CONFIG_EVERY);
        self.polls = self.polls.wrapping_add(1);
        match due {
            true => self.client.config(&self.name).await.map_or(known, Arc::new),
            false => known,
        }
    }

    /// Restarts failed tasks if a restart is due. Returns true if it did.
    async fn restart_if_due(&mut self, status: &ConnectorStatus) -> bool {
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
        tracing::info!(connector = self.name, cause = failed.cause(), "restarting a failed task");
        match self.client.restart_failed(&self.name).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(connector = self.name, error = error.summary(), "a failed task cannot be restarted");
                false
            }
        }
    }

    /// Logs each trouble once, and its end.
    fn log(&mut self, state: &ConnectorState) {
        if self.logged == state.trouble {
            return;
        }
        match &state.trouble {
            Some(trouble) => tracing::warn!(connector = self.name, trouble, "the connector does not run"),
            None if state.is_running() => tracing::info!(connector = self.name, "the connector runs again"),
            // Neither failed nor running, as during a restart.
            None => return,
        }
        self.logged.clone_from(&state.trouble);
    }
}

/// The state after a successful poll.
fn state_of(status: &ConnectorStatus, restarts: u64, config: Arc<BTreeMap<String, String>>) -> ConnectorState {
    ConnectorState {
        connector: Some(status.connector.state.clone()),
        trace: trace_of(&status.connector),
        tasks: status.tasks.iter().map(TaskState::of).collect(),
        worker: status.connector.worker_id.clone(),
        trouble: status.failed().map(PartStatus::cause),
        restarts,
        config,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use cachefront_core::Error;

    use super::settings::POLL_MIN;
    use super::*;

    const SETTINGS: WatchdogSettings = WatchdogSettings {
        restarts: true,
        poll_interval: Duration::from_secs(1),
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
    fn settings_out_of_bounds_are_limited() {
        let wrong = r#"{"poll_interval":{"secs":0,"nanos":0},"retry_min":{"secs":9,"nanos":0},"retry_max":{"secs":4,"nanos":0}}"#;
        let settings = serde_json::from_str::<WatchdogSettings>(wrong).expect("settings").bounded();
        assert_eq!((settings.poll_interval, settings.retry_max), (POLL_MIN, Duration::from_secs(9)));
        let endless = SETTINGS.with_retry(Duration::MAX, Duration::MAX).bounded();
        for settings in [settings, endless] {
            let (mut retry, begun) = (Retry::default(), Instant::now());
            assert!(retry.is_due(begun, &settings) && !retry.is_due(begun, &settings));
            assert!(retry.is_due(begun + settings.retry_max, &settings), "the pause is no longer than its maximum");
        }
    }

    #[test]
    fn a_failed_task_counts_although_the_connector_is_running() {
        let json = r#"{"name":"c","connector":{"state":"RUNNING","worker_id":"w:1"},"tasks":[{"id":0,"state":"FAILED",
            "worker_id":"w:1","trace":"org.Outer: first\n\tat x\nCaused by: org.Inner: it\n\tat y"}]}"#;
        let status: ConnectorStatus = serde_json::from_str(json).expect("a status");
        let state = state_of(&status, 3, Arc::default());
        assert!(!state.is_running() && state.has_failed() && !state.is_paused());
        assert_eq!(state.tasks[0].trace[0], "org.Outer: first");
        assert_eq!(state.to_string(), "RUNNING, tasks [FAILED], restarts 3, org.Inner: it");
        assert_eq!(status.failed().expect("a task").trace_lines()[0], "org.Outer: first");
    }

    /// A worker whose task has failed: it returns its status to every request, and the receiver gets the request lines.
    async fn failing_worker() -> (ConnectClient, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1_024];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(request.get(..read).unwrap_or_default()).into_owned();
                let _ = sender.send(text.lines().next().unwrap_or_default().to_owned());
                let body = r#"{"connector":{"state":"RUNNING"},"tasks":[{"id":0,"state":"FAILED","trace":"t"}]}"#;
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        let client = ConnectClient::builder(url).request_timeout(Duration::from_secs(10)).build().expect("a client");
        (client, requests)
    }

    #[tokio::test]
    async fn failed_tasks_are_restarted_only_if_enabled() {
        for restarts in [false, true] {
            let (client, mut requests) = failing_worker().await;
            let settings = SETTINGS.with_restarts(restarts).with_poll_interval(Duration::from_millis(5));
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let (watchdog, task) = Watchdog::spawn(client, "c", settings, async { drop(stopped.await) });
            let mut lines = Vec::new();
            while lines.len() < 8 {
                lines.push(requests.recv().await.expect("a request"));
            }
            let restarted = lines.iter().filter(|line| line.starts_with("POST /connectors/c/restart?")).count();
            assert_eq!(restarted, usize::from(restarts), "{lines:?}");
            assert!(watchdog.watch().borrow().has_failed());
            drop(stop);
            task.await.expect("the task ends");
        }
    }

    #[tokio::test]
    async fn no_error_prints_the_password_of_the_url() {
        let client = ConnectClient::builder("http://admin:p4ss@127.0.0.1:1").build().expect("a client");
        let error = client.ready().await.expect_err("no worker listens there");
        let printed = format!(
            "{} {error:?} {client:?} {}",
            error.summary(),
            Error::from(client.ready().await.unwrap_err()).chain()
        );
        assert!(error.is_transient() && !printed.contains("p4ss"), "{printed}");
    }

    #[test]
    fn a_paused_or_stopped_connector_has_not_failed() {
        for state in ["PAUSED", "STOPPED"] {
            let json = format!(r#"{{"connector":{{"state":"{state}"}},"tasks":[]}}"#);
            let status: ConnectorStatus = serde_json::from_str(&json).expect("a status");
            let state = state_of(&status, 0, Arc::default());
            assert!(state.is_paused() && !state.has_failed() && !state.is_running());
        }
    }
}
