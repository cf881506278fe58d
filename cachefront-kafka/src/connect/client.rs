//! The client of Kafka Connect's REST interface.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config::ConnectorConfig;
use super::error::ConnectError;
use super::redact::{Redactor, Secret};
use super::status::ConnectorStatus;
use crate::event::ConnectorVersion;

/// Timeout of a registration: the worker connects to the database before it responds.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of characters of a response that are kept for a message.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// A client of Kafka Connect's REST interface. Cloning is cheap: clones share the connection pool.
#[derive(Clone, Debug)]
pub struct ConnectClient {
    client: Client,
    url: Secret,
    redactor: Redactor,
}

/// Builds a [`ConnectClient`].
#[derive(Debug)]
#[must_use]
pub struct ConnectClientBuilder {
    url: Secret,
    timeout: Duration,
    redactor: Redactor,
}

/// The connector of `connector.json`.
const CLASS: &str = "io.debezium.connector.mysql.MySqlConnector";

/// A plugin of the worker, from `GET /connector-plugins`.
#[derive(Debug, Deserialize)]
struct Plugin {
    class: String,
    #[serde(default)]
    version: Option<String>,
}

/// Whether a registration created the connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The connector did not exist.
    Created,
    /// The connector existed; its configuration is up to date now.
    Updated,
}

impl ConnectClient {
    /// Returns a builder for the worker at this URL, such as `http://connect:8083`. HTTPS needs the feature
    /// `connect-tls`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use cachefront::kafka::connect::{ConnectClient, Redactor};
    ///
    /// let client = ConnectClient::builder("http://admin:secret@connect:8083")
    ///     .request_timeout(Duration::from_secs(10))
    ///     .redactor(Redactor::new().with_secret("the connector's password"))
    ///     .build()?;
    /// assert_eq!(client.host(), "connect:8083");
    /// assert!(!format!("{client:?}").contains("secret"));
    /// # Ok::<(), cachefront::kafka::connect::ConnectError>(())
    /// ```
    pub fn builder(url: impl Into<String>) -> ConnectClientBuilder {
        let url = Secret::new(url.into().trim_end_matches('/'));
        ConnectClientBuilder { url, timeout: Duration::from_secs(5), redactor: Redactor::new() }
    }

    /// Returns the worker's host and port, for messages.
    pub fn host(&self) -> &str {
        self.url.host()
    }

    /// Returns once the worker has read its state.
    ///
    /// # Errors
    /// [`ConnectError`], if the worker does not respond or is not ready.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn ready(&self) -> Result<(), ConnectError> {
        self.send(Method::GET, "/connectors", None).await.map(drop)
    }

    /// Creates or reconfigures the connector `name`. Idempotent.
    ///
    /// # Errors
    /// [`ConnectError`], `Refused` if the worker cannot use the configuration.
    ///
    /// # Cancel safety
    /// If it is dropped, the connector may have been registered or not: call it again.
    pub async fn put(&self, name: &str, config: &ConnectorConfig) -> Result<Registered, ConnectError> {
        let settings = config.settings();
        let sender = Self { redactor: self.redactor.clone().with(config.redactor()), ..self.clone() };
        let (status, _) = sender.send(Method::PUT, &format!("/connectors/{name}/config"), Some(&settings)).await?;
        Ok(if status == StatusCode::CREATED { Registered::Created } else { Registered::Updated })
    }

    /// Returns the status of the connector and its tasks.
    ///
    /// # Errors
    /// [`ConnectError`], `NotFound` if the connector does not exist.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn status(&self, name: &str) -> Result<ConnectorStatus, ConnectError> {
        let (_, body) = self.send(Method::GET, &format!("/connectors/{name}/status"), None).await?;
        let mut status: ConnectorStatus = parse(&body)?;
        for part in [&mut status.connector].into_iter().chain(&mut status.tasks) {
            part.trace = part.trace.take().map(|trace| self.redactor.redact(&trace));
        }
        Ok(status)
    }

    /// Returns the configuration of the connector, without secrets.
    ///
    /// # Errors
    /// [`ConnectError`], `NotFound` if the connector does not exist.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn config(&self, name: &str) -> Result<BTreeMap<String, String>, ConnectError> {
        let (_, body) = self.send(Method::GET, &format!("/connectors/{name}/config"), None).await?;
        let settings: BTreeMap<String, String> = parse(&body)?;
        let redacted = settings.into_iter().map(|(name, value)| {
            let value = self.redactor.redact_setting(&name, &value);
            (name, value)
        });
        Ok(redacted.collect())
    }

    /// Returns the version of Debezium's MySQL connector that the worker has; `None` if it has none, or does not say. From
    /// [`ConnectorVersion::KEEPS_COUNTS`] on its counts hold across restarts.
    ///
    /// # Errors
    /// [`ConnectError`], if the worker does not respond.
    pub async fn connector_version(&self) -> Result<Option<ConnectorVersion>, ConnectError> {
        let (_, body) = self.send(Method::GET, "/connector-plugins", None).await?;
        Ok(oldest(&parse::<Vec<Plugin>>(&body)?))
    }

    /// Restarts the connector and all its tasks.
    ///
    /// # Errors
    /// [`ConnectError`], `NotFound` if the connector does not exist.
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn restart(&self, name: &str) -> Result<(), ConnectError> {
        self.send(Method::POST, &restart_path(name, false), None).await.map(drop)
    }

    /// Restarts the connector and those of its tasks that failed.
    ///
    /// # Errors
    /// [`ConnectError`], `NotFound` if the connector does not exist.
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn restart_failed(&self, name: &str) -> Result<(), ConnectError> {
        self.send(Method::POST, &restart_path(name, true), None).await.map(drop)
    }

    /// Restarts one task.
    ///
    /// # Errors
    /// [`ConnectError`], `NotFound` if the connector or the task does not exist.
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn restart_task(&self, name: &str, task: u32) -> Result<(), ConnectError> {
        self.send(Method::POST, &format!("/connectors/{name}/tasks/{task}/restart"), None).await.map(drop)
    }

    /// Pauses the connector; it keeps its position in the log.
    ///
    /// # Errors
    /// [`ConnectError`], `NotFound` if the connector does not exist.
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn pause(&self, name: &str) -> Result<(), ConnectError> {
        self.send(Method::PUT, &format!("/connectors/{name}/pause"), None).await.map(drop)
    }

    /// Resumes a connector that was paused or stopped.
    ///
    /// # Errors
    /// [`ConnectError`], `NotFound` if the connector does not exist.
    ///
    /// # Cancel safety
    /// If it is dropped, the worker may have received the request or not.
    pub async fn resume(&self, name: &str) -> Result<(), ConnectError> {
        self.send(Method::PUT, &format!("/connectors/{name}/resume"), None).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&BTreeMap<String, String>>,
    ) -> Result<(StatusCode, String), ConnectError> {
        let mut request = self.client.request(method, format!("{}{path}", self.url.expose()));
        if let Some(body) = body {
            request = request.json(body).timeout(REGISTER_TIMEOUT);
        }
        // The URL may hold a password.
        let unreachable = |error: reqwest::Error| ConnectError::Unreachable(error.without_url());
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        let message = || message(&self.redactor.redact(&text));
        match status {
            _ if status.is_success() => Ok((status, text)),
            StatusCode::NOT_FOUND => Err(ConnectError::NotFound),
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => Err(ConnectError::Busy(message())),
            _ => Err(ConnectError::Refused { status: status.as_u16(), message: message() }),
        }
    }
}

impl ConnectClientBuilder {
    /// Sets the timeout of a request; a registration may take a minute. Default: 5 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the secrets to hide in messages and stack traces of the worker, usually
    /// [`ConnectorConfig::redactor`]. The password of the worker's URL is always hidden.
    /// Default: none.
    pub fn redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Builds the client. No request is sent. Proxies of the environment are not used.
    ///
    /// # Errors
    /// [`ConnectError::Client`] if the TLS library cannot be initialised.
    pub fn build(self) -> Result<ConnectClient, ConnectError> {
        let client = Client::builder().timeout(self.timeout).no_proxy().build();
        let client = client.map_err(|error| ConnectError::Client(error.without_url()))?;
        let redactor = self.redactor.with_url(self.url.expose());
        Ok(ConnectClient { client, url: self.url, redactor })
    }
}

/// Returns the oldest version of the connector: a worker may have several.
fn oldest(plugins: &[Plugin]) -> Option<ConnectorVersion> {
    let ours = plugins.iter().filter(|plugin| plugin.class == CLASS);
    ours.filter_map(|plugin| ConnectorVersion::parse(plugin.version.as_deref()?)).min()
}

fn restart_path(name: &str, only_failed: bool) -> String {
    format!("/connectors/{name}/restart?includeTasks=true&onlyFailed={only_failed}")
}

fn parse<T: DeserializeOwned>(body: &str) -> Result<T, ConnectError> {
    serde_json::from_str(body).map_err(|error| ConnectError::Unexpected { line: error.line(), column: error.column() })
}

/// Returns the `message` of a response, or the response itself, truncated.
fn message(text: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let message = parsed.as_ref().and_then(|parsed| parsed.get("message")).and_then(Value::as_str).unwrap_or(text);
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_version_of_the_connector_counts() {
        let plugins = |text: &str| parse::<Vec<Plugin>>(text).map(|plugins| oldest(&plugins)).expect("plugins");
        let version = ConnectorVersion::parse("2.7.4.Final");
        let both = r#"[{"class":"io.debezium.connector.mysql.MySqlConnector","type":"source","version":"3.6.1.Final"},
            {"class":"io.debezium.connector.mysql.MySqlConnector","type":"source","version":"2.7.4.Final"},
            {"class":"io.debezium.connector.mongodb.MongoDbConnector","type":"source","version":"1.0.0.Final"}]"#;
        assert_eq!(plugins(both), version);
        assert_eq!(plugins(r#"[{"class":"io.debezium.connector.mysql.MySqlConnector"}]"#), None);
        assert_eq!(plugins("[]"), None);
    }
}
