//! What is said to Kafka Connect.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use simulator_cli::{CliError, Secret, root_cause};

use super::redact::Redactor;
use crate::settings::Kafka;

/// A connector's configuration is tried on its database before Connect answers.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of an answer is kept for a message.
const ANSWER_MAX: usize = 2_000;
/// How many lines of a trace are shown.
const TRACE_LINES: usize = 12;

/// Kafka Connect's REST interface.
#[derive(Clone, Debug)]
pub struct Rest {
    client: Client,
    url: Secret,
    redactor: Redactor,
}

/// Why Kafka Connect did not do what it was asked. It holds no secrets.
#[derive(Debug)]
pub enum RestError {
    /// No answer.
    Unreachable(String),
    /// It is busy with itself; the same may succeed soon.
    Busy(String),
    /// It does not know the connector.
    Unknown,
    /// An answer that is a refusal.
    Refused(StatusCode, String),
}

impl fmt::Display for RestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "no answer: {why}"),
            Self::Busy(said) => write!(f, "busy: {said}"),
            Self::Unknown => f.write_str("there is no such connector"),
            Self::Refused(status, said) => write!(f, "{status}: {said}"),
        }
    }
}

/// What Kafka Connect says about a connector.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Status {
    pub connector: Part,
    #[serde(default)]
    pub tasks: Vec<Part>,
}

/// The connector itself, or one of its tasks.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Part {
    /// A task's number; the connector has none.
    #[serde(default)]
    pub id: u32,
    pub state: String,
    #[serde(default)]
    pub worker_id: String,
    #[serde(default)]
    pub trace: Option<String>,
}

impl Part {
    /// The first lines of why it failed.
    pub fn trace_lines(&self) -> Vec<String> {
        let trace = self.trace.as_deref().unwrap_or("Kafka Connect gives no reason");
        trace.lines().map(str::trim_end).filter(|line| !line.is_empty()).take(TRACE_LINES).map(str::to_owned).collect()
    }

    /// Why it failed, in one line: the innermost cause, which is the one that can be mended.
    pub fn cause(&self) -> String {
        let lines = || self.trace.as_deref().unwrap_or_default().lines();
        let innermost = lines().filter_map(|line| line.strip_prefix("Caused by: ")).next_back();
        innermost.or_else(|| lines().next()).unwrap_or("Kafka Connect gives no reason").to_owned()
    }
}

/// True if a connector in this state stands still on purpose, and goes on when it is resumed.
pub(super) fn is_paused(state: &str) -> bool {
    matches!(state, "PAUSED" | "STOPPED")
}

impl Status {
    /// What failed: the connector itself, or a task.
    pub fn failed(&self) -> Option<&Part> {
        [&self.connector].into_iter().chain(&self.tasks).find(|part| part.state == "FAILED")
    }

    /// True if the connector and at least one task run, and none does not.
    pub fn is_running(&self) -> bool {
        let running = |part: &Part| part.state == "RUNNING";
        running(&self.connector) && !self.tasks.is_empty() && self.tasks.iter().all(running)
    }

    /// True if somebody paused or stopped it.
    pub fn is_paused(&self) -> bool {
        is_paused(&self.connector.state)
    }
}

impl Rest {
    /// Requests may take `timeout` each.
    ///
    /// # Errors
    /// If this machine cannot make requests at all.
    pub fn new(kafka: &Kafka, timeout: Duration) -> Result<Self, CliError> {
        let client = Client::builder()
            .timeout(timeout)
            .no_proxy()
            .build()
            .map_err(|error| CliError::new(format!("Kafka Connect cannot be asked: {error}")))?;
        let redactor = Redactor::of_urls(&[&kafka.connect_mysql_url, &kafka.connect_url])
            .and_settings(kafka.connect_client.iter().map(|(_, value)| value));
        Ok(Self { client, url: kafka.connect_url.clone(), redactor })
    }

    /// Where it is, for messages.
    pub fn host(&self) -> &str {
        self.url.host()
    }

    /// Answers once the worker has read all its state.
    pub async fn ready(&self) -> Result<(), RestError> {
        self.send(Method::GET, "/connectors", None).await.map(drop)
    }

    /// Registers the connector, or changes it: the same twice changes nothing.
    pub async fn put(&self, name: &str, config: &Map<String, Value>) -> Result<Registered, RestError> {
        let (status, _) = self.send(Method::PUT, &format!("/connectors/{name}/config"), Some(config)).await?;
        Ok(if status == StatusCode::CREATED { Registered::Created } else { Registered::Updated })
    }

    /// The state of the connector and its tasks, with traces that hold no secrets.
    pub async fn status(&self, name: &str) -> Result<Status, RestError> {
        let (status, body) = self.send(Method::GET, &format!("/connectors/{name}/status"), None).await?;
        let mut found: Status = serde_json::from_str(&body)
            .map_err(|error| RestError::Refused(status, format!("not a status: {error}")))?;
        for part in [&mut found.connector].into_iter().chain(&mut found.tasks) {
            part.trace = part.trace.take().map(|trace| self.redactor.clean(&trace));
        }
        Ok(found)
    }

    /// Starts again what failed, or (`all`) everything.
    pub async fn restart(&self, name: &str, all: bool) -> Result<(), RestError> {
        let only_failed = !all;
        let path = format!("/connectors/{name}/restart?includeTasks=true&onlyFailed={only_failed}");
        self.send(Method::POST, &path, None).await.map(drop)
    }

    /// Starts one task again.
    pub async fn restart_task(&self, name: &str, task: u32) -> Result<(), RestError> {
        self.send(Method::POST, &format!("/connectors/{name}/tasks/{task}/restart"), None).await.map(drop)
    }

    /// How the connector is configured, without secrets, by name.
    pub async fn config(&self, name: &str) -> Result<BTreeMap<String, String>, RestError> {
        let (status, body) = self.send(Method::GET, &format!("/connectors/{name}/config"), None).await?;
        let found: BTreeMap<String, String> =
            serde_json::from_str(&body).map_err(|_| RestError::Refused(status, "not a configuration".to_owned()))?;
        let shown = |(name, value): (String, String)| {
            let value = self.redactor.setting(&name, &value);
            (name, value)
        };
        Ok(found.into_iter().map(shown).collect())
    }

    /// The connector stops to read until it is resumed; it keeps its place.
    pub async fn pause(&self, name: &str) -> Result<(), RestError> {
        self.send(Method::PUT, &format!("/connectors/{name}/pause"), None).await.map(drop)
    }

    /// A connector that was paused or stopped reads on.
    pub async fn resume(&self, name: &str) -> Result<(), RestError> {
        self.send(Method::PUT, &format!("/connectors/{name}/resume"), None).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Map<String, Value>>,
    ) -> Result<(StatusCode, String), RestError> {
        let mut request = self.client.request(method, format!("{}{path}", self.url.expose()));
        if let Some(body) = body {
            request = request.json(body).timeout(REGISTER_TIMEOUT);
        }
        let failed =
            |error: reqwest::Error| RestError::Unreachable(self.redactor.clean(&root_cause(&error.without_url())));
        let reply = request.send().await.map_err(failed)?;
        let status = reply.status();
        let said = reply.text().await.map_err(failed)?;
        let message = || message(&self.redactor.clean(&said));
        match status {
            _ if status.is_success() => Ok((status, said)),
            StatusCode::NOT_FOUND => Err(RestError::Unknown),
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => Err(RestError::Busy(message())),
            _ => Err(RestError::Refused(status, message())),
        }
    }
}

/// What came of registering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    Created,
    Updated,
}

/// The message of an answer, or the answer itself, cut to what fits into a line.
fn message(said: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(said).ok();
    let message = parsed.as_ref().and_then(|said| said.get("message")).and_then(Value::as_str).unwrap_or(said);
    message.chars().take(ANSWER_MAX).collect()
}
