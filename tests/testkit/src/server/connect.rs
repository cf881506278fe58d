//! A Kafka Connect worker of one test's own, and what a test says to any worker.

use std::{path::Path, process::Command, time::Duration};

use cachefront_stack::connect::{CLASS, write_config};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::jvm;
use super::private::{Private, Spec};
use crate::{port, stack, unique, wait};

/// How long one request may take: the worker tries a connector's database before it responds.
const REQUEST: Duration = Duration::from_secs(60);
/// How long a connector may take to reach a state.
const SETTLE: Duration = Duration::from_secs(60);
/// True if the worker on `port` has read all its state and works.
async fn serves(port: u16) -> bool {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build();
    let Ok(client) = client else { return false };
    let reply = client.get(format!("http://127.0.0.1:{port}/health")).send().await;
    reply.is_ok_and(|reply| reply.status() == StatusCode::OK)
}

/// How a private worker is started.
#[derive(Debug)]
pub struct ConnectSpec {
    port: u16,
    rest: Rest,
}

impl Spec for ConnectSpec {
    const NAME: &'static str = "connect";
    const START: Duration = Duration::from_secs(90);
    // A worker in a rebalance ends after it, which may take a minute (`rebalance.timeout.ms`).
    const STOP: Duration = Duration::from_secs(120);

    fn command(&self, dir: &Path) -> Command {
        let mut command = jvm::command(dir, CLASS);
        command.arg(dir.join("connect.properties"));
        command
    }

    async fn is_ready(&self, _dir: &Path, _pid: u32) -> bool {
        serves(self.port).await
    }
}

/// A worker: killed and restarted at will.
pub type Connect = Private<ConnectSpec>;

impl Connect {
    /// Starts a worker without connectors on the broker at `brokers`. About three seconds.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub async fn start(brokers: &str) -> Self {
        let group = unique::name("connect");
        Self::launch(|dir| {
            let port = port::free();
            write_config(dir, port, brokers, &group, &stack::connect_plugins())
                .expect("the worker's settings can be written");
            ConnectSpec { port, rest: Rest::of(&format!("http://127.0.0.1:{port}")) }
        })
        .await
    }

    /// URL of its REST interface, the same over restarts.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.spec.port)
    }

    /// What a test says to it.
    pub fn rest(&self) -> &Rest {
        &self.spec.rest
    }
}

/// One task of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// `RUNNING`, `FAILED`, `PAUSED`, ...
    pub state: String,
    /// Why it failed.
    pub trace: Option<String>,
}

/// The REST interface of a worker.
#[derive(Debug, Clone)]
pub struct Rest {
    client: reqwest::Client,
    url: String,
}

impl Rest {
    /// Of the worker at `url`.
    ///
    /// # Panics
    /// Never: a plain client can always be made.
    pub fn of(url: &str) -> Self {
        let client = reqwest::Client::builder().timeout(REQUEST).no_proxy().build().expect("a plain client");
        Self { client, url: url.trim_end_matches('/').to_owned() }
    }

    /// The worker's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Of the stack's own worker.
    ///
    /// # Panics
    /// If no stack was brought up.
    pub fn shared() -> Self {
        Self::of(&stack::connect_url())
    }

    /// Makes or changes the connector `name`. A worker that has just started is asked again while it is busy.
    ///
    /// # Panics
    /// If the worker refuses; the message holds its answer.
    pub async fn register(&self, name: &str, config: &Map<String, Value>) {
        let path = format!("/connectors/{name}/config");
        let body = Value::Object(config.clone());
        let (status, said) = wait::until_some("the worker takes the connector", SETTLE, async || {
            let (status, said) = self.send(Method::PUT, &path, Some(&body)).await?;
            (status != StatusCode::CONFLICT).then_some((status, said))
        })
        .await;
        assert!(status.is_success(), "the connector {name} is refused: {status} {said}");
    }

    /// Removes the connector, with its offsets; one that is not there is no error.
    ///
    /// # Panics
    /// If the worker does not do it.
    pub async fn delete(&self, name: &str) {
        let path = format!("/connectors/{name}");
        let what = format!("the connector {name} is gone");
        wait::until_async(&what, SETTLE, async || {
            let Some((found, _)) = self.send(Method::GET, &path, None).await else { return false };
            if found == StatusCode::NOT_FOUND {
                return true;
            }
            // Offsets can be removed only while the connector is stopped.
            let _ = self.send(Method::PUT, &format!("{path}/stop"), None).await;
            let stopped = self.state(name).await.is_some_and(|state| state == "STOPPED");
            let tasks = self.tasks(name).await;
            if !stopped || !tasks.is_empty() {
                return false;
            }
            let removed = self.send(Method::DELETE, &format!("{path}/offsets"), None).await;
            if removed.is_some_and(|(status, _)| status.is_success()) {
                let _ = self.send(Method::DELETE, &path, None).await;
            }
            false
        })
        .await;
    }

    /// The connector's own state, which says little about its tasks.
    pub async fn state(&self, name: &str) -> Option<String> {
        let status = self.status(name).await?;
        Some(status["connector"]["state"].as_str()?.to_owned())
    }

    /// The connector's tasks; none if there is no such connector, or the worker does not respond.
    pub async fn tasks(&self, name: &str) -> Vec<Task> {
        let status = self.status(name).await.unwrap_or_default();
        let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let task = |task: &Value| Task { state: text(&task["state"]).unwrap_or_default(), trace: text(&task["trace"]) };
        tasks.iter().map(task).collect()
    }

    /// Waits until the connector and its task run.
    ///
    /// # Panics
    /// If they do not in time, or the task fails; the message holds its trace.
    pub async fn wait_running(&self, name: &str) {
        self.wait_state(name, "RUNNING").await;
    }

    /// Waits until the worker has kept a place in the log for the connector: one that fails before that takes its
    /// snapshot again.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn wait_for_offset(&self, name: &str) {
        let path = format!("/connectors/{name}/offsets");
        wait::until_async(&format!("{name} has a place in the log"), SETTLE, async || {
            let Some((_, body)) = self.send(Method::GET, &path, None).await else { return false };
            let body: Value = serde_json::from_str(&body).unwrap_or_default();
            let offsets = body["offsets"].as_array().map(Vec::as_slice).unwrap_or_default();
            offsets.iter().any(|entry| entry["offset"].is_object() && entry["offset"]["snapshot"].is_null())
        })
        .await;
    }

    /// Waits until the connector's task failed.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn wait_failed(&self, name: &str) {
        let what = format!("the task of {name} failed");
        wait::until_async(&what, SETTLE, async || self.tasks(name).await.iter().any(|task| task.state == "FAILED"))
            .await;
    }

    /// Starts again what failed.
    ///
    /// # Panics
    /// If the worker refuses.
    pub async fn restart_failed(&self, name: &str) {
        let path = format!("/connectors/{name}/restart?includeTasks=true&onlyFailed=true");
        let done = self.send(Method::POST, &path, None).await;
        assert!(done.as_ref().is_some_and(|(status, _)| status.is_success()), "{name} is not restarted: {done:?}");
    }

    /// Pauses the connector, and waits until it is.
    ///
    /// # Panics
    /// If it is not in time.
    pub async fn pause(&self, name: &str) {
        let _ = self.send(Method::PUT, &format!("/connectors/{name}/pause"), None).await;
        self.wait_state(name, "PAUSED").await;
    }

    /// Resumes the connector, and waits until it runs.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn resume(&self, name: &str) {
        let _ = self.send(Method::PUT, &format!("/connectors/{name}/resume"), None).await;
        self.wait_state(name, "RUNNING").await;
    }

    async fn wait_state(&self, name: &str, wanted: &str) {
        let what = format!("the connector {name} and its task are {wanted}");
        wait::until_async(&what, SETTLE, async || {
            let tasks = self.tasks(name).await;
            for task in &tasks {
                assert!(task.state != "FAILED", "the task of {name} failed: {}", task.trace.as_deref().unwrap_or("?"));
            }
            let of_connector = self.state(name).await.is_some_and(|state| state == wanted);
            of_connector && !tasks.is_empty() && tasks.iter().all(|task| task.state == wanted)
        })
        .await;
    }

    async fn status(&self, name: &str) -> Option<Value> {
        let (status, body) = self.send(Method::GET, &format!("/connectors/{name}/status"), None).await?;
        if status.is_success() { serde_json::from_str(&body).ok() } else { None }
    }

    /// The status and body of one request. Returns `None` if the worker does not respond.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Option<(StatusCode, String)> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&json!(body));
        }
        let reply = request.send().await.ok()?;
        Some((reply.status(), reply.text().await.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{Connector, Servers};
    use crate::server::kafka::Topics;

    #[tokio::test]
    async fn a_connector_outlives_its_worker_and_leaves_no_trace_when_removed() {
        let brokers = stack::kafka_brokers();
        let mut connect = Connect::start(&brokers).await;
        let database = unique::database("connect").await;
        database.execute("CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY)").await;
        database.execute("INSERT INTO item VALUES (1)").await;
        let servers = Servers::private(connect.rest(), &brokers, &stack::mysql_url());
        let connector = Connector::start(&servers, &database, &["item"]).await;
        let (name, topic) = (connector.name().to_owned(), connector.topic("item"));
        let topics = Topics::of(&brokers);
        wait::until("the table has its topic", SETTLE, || topics.names().contains(&topic)).await;

        connect.rest().pause(&name).await;
        connect.rest().resume(&name).await;
        connect.kill();
        connect.restart().await;
        connect.rest().wait_running(&name).await;
        connector.remove().await;
        assert!(connect.rest().tasks(&name).await.is_empty());
        let left: Vec<String> = topics.names().into_iter().filter(|topic| topic.contains(&name)).collect();
        assert!(left.is_empty(), "{left:?}");
        connect.stop().await;
    }
}
