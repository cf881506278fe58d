//! How a consumer's events and reports reach other processes: next to the entries, in the same Redis.
//!
//! They are for display only. Their number is bounded, and those that cannot be sent are dropped.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cachefront::{Error, ErrorKind, Result};
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisResult, TlsCertificates};
use simulator_cli::{CliError, ExposeSecret};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::events::{ChangeSink, Event, EventHub};
use crate::pipeline::{Report, StatusStore};
use crate::settings::Stack;
use crate::shared_task::SharedTask;

/// Maximum number of events that wait to be sent, and approximate length of the stream.
const EVENTS_MAX: usize = 1_024;

/// Maximum number of events in one command.
const GROUP_MAX: usize = 128;

/// A command that takes longer has failed.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// How long one read of the stream blocks at the server.
const READ_BLOCK: Duration = Duration::from_secs(2);

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// The keys of the stream and of the report, and the client that connects to their server.
#[derive(Clone)]
pub struct RelayClient {
    client: Client,
    changes: Arc<str>,
    report: Arc<str>,
}

impl fmt::Debug for RelayClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client: it knows the password.
        f.debug_struct("RelayClient").field("changes", &self.changes).finish_non_exhaustive()
    }
}

impl RelayClient {
    /// # Errors
    /// If the URL or the certificates cannot be used.
    pub(super) fn new(stack: &Stack, namespace: &str) -> Result<Self, CliError> {
        let bad_url =
            |_| CliError::new("CACHEFRONT_REDIS_URL is not a Redis URL: write redis://[:password@]host:6379/");
        let info = stack.redis_url.expose_secret().into_connection_info().map_err(bad_url)?;
        let client = match (info.addr(), &stack.tls_ca) {
            (ConnectionAddr::TcpTls { .. }, Some(ca)) => {
                let pem = std::fs::read(ca).map_err(|error| CliError::new(format!("CACHEFRONT_TLS_CA: {error}")))?;
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem) })
            }
            _ => Client::open(info),
        };
        Ok(Self {
            client: client.map_err(bad_url)?,
            changes: format!("{{cf:{namespace}:simulator}}changes").into(),
            report: format!("{{cf:{namespace}:simulator}}report").into(),
        })
    }

    async fn connect(&self, response_timeout: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(COMMAND_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Publishes every new event of the stream to `hub`, until `stop`.
    pub async fn follow(self, hub: EventHub, stop: CancellationToken) {
        // Survives lost connections, so that no event is shown twice.
        let mut last = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                failure = self.read_on(&hub, &mut last) => {
                    tracing::debug!(error = %failure, "the stream of events cannot be read");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Reads until an error occurs, and returns it.
    async fn read_on(&self, hub: &EventHub, last: &mut Option<String>) -> redis::RedisError {
        let read = async {
            let mut connection = self.connect(READ_BLOCK + COMMAND_TIMEOUT).await?;
            let mut from = match last.take() {
                Some(id) => id,
                None => self.newest(&mut connection).await?,
            };
            loop {
                last.replace(from.clone());
                let reply: Option<StreamReadReply> = redis::cmd("XREAD")
                    .arg("COUNT")
                    .arg(GROUP_MAX)
                    .arg("BLOCK")
                    .arg(READ_BLOCK.as_millis() as u64)
                    .arg("STREAMS")
                    .arg(&*self.changes)
                    .arg(&from)
                    .query_async(&mut connection)
                    .await?;
                for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
                    if let Some(data) = data_of(&entry) {
                        hub.publish(Event { name: "change", data });
                    }
                    from = entry.id;
                }
            }
        };
        let ended: RedisResult<std::convert::Infallible> = read.await;
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Returns the id of the newest event; events up to it are history.
    async fn newest(&self, connection: &mut MultiplexedConnection) -> RedisResult<String> {
        let reply: StreamRangeReply = redis::cmd("XREVRANGE")
            .arg(&*self.changes)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query_async(connection)
            .await?;
        Ok(reply.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id))
    }
}

fn data_of(entry: &StreamId) -> Option<String> {
    entry.get("data")
}

/// Sends change events into the stream.
#[derive(Debug)]
pub(super) struct RedisEvents(mpsc::Sender<Event>);

impl RedisEvents {
    /// The sending task ends together with this value.
    pub(super) fn spawn(relay: &RelayClient) -> Self {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(send_all(relay.clone(), receiver));
        Self(sender)
    }
}

impl ChangeSink for RedisEvents {
    fn take(&self, event: Event) {
        // A full queue means that events arrive faster than they can be followed on a screen.
        let _ = self.0.try_send(event);
    }
}

async fn send_all(relay: RelayClient, mut events: mpsc::Receiver<Event>) {
    let mut connection = None;
    let mut group = Vec::new();
    while events.recv_many(&mut group, GROUP_MAX).await > 0 {
        if let Err(error) = send(&relay, &mut connection, &group).await {
            tracing::debug!(%error, "events cannot be sent");
            connection = None;
        }
        group.clear();
    }
}

async fn send(relay: &RelayClient, kept: &mut Option<MultiplexedConnection>, group: &[Event]) -> RedisResult<()> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => relay.connect(COMMAND_TIMEOUT).await?,
    };
    let mut pipeline = redis::pipe();
    for event in group {
        pipeline
            .cmd("XADD")
            .arg(&*relay.changes)
            .arg("MAXLEN")
            .arg("~")
            .arg(EVENTS_MAX)
            .arg("*")
            .arg("data")
            .arg(&event.data)
            .ignore();
    }
    pipeline.query_async::<()>(&mut connection).await?;
    *kept = Some(connection);
    Ok(())
}

/// Keeps the consumer's report in Redis.
#[derive(Debug)]
pub(super) struct RedisStatusStore {
    relay: RelayClient,
    /// Clones of a connection share one socket. A caller uses a clone, so that it does not wait for another's reply.
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
    /// While the server is away, concurrent callers share one attempt to connect.
    dials: SharedTask,
}

impl RedisStatusStore {
    pub(super) fn new(relay: RelayClient) -> Self {
        Self { relay, connection: Arc::default(), dials: SharedTask::default() }
    }

    async fn run<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        let mut connection = self.connection().await?;
        let reply = command.query_async(&mut connection).await;
        reply.map_err(|error| {
            lock(&self.connection).take();
            Error::with_source(ErrorKind::Unavailable, "the pipeline's report cannot be exchanged", error)
        })
    }

    async fn connection(&self) -> Result<MultiplexedConnection> {
        if let Some(connection) = &*lock(&self.connection) {
            return Ok(connection.clone());
        }
        let (relay, kept) = (self.relay.clone(), Arc::clone(&self.connection));
        let dial = async move {
            // The client's own timeout does not cover every step of a handshake.
            match tokio::time::timeout(2 * COMMAND_TIMEOUT, relay.connect(COMMAND_TIMEOUT)).await {
                Ok(Ok(connection)) => *lock(&kept) = Some(connection),
                Ok(Err(error)) => tracing::debug!(%error, "Redis cannot be reached for the pipeline's report"),
                Err(_) => tracing::debug!("Redis does not take a connection for the pipeline's report"),
            }
        };
        self.dials.join(COMMAND_TIMEOUT, dial).await;
        let connection = lock(&self.connection).clone();
        connection
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "Redis cannot be reached for the pipeline's report"))
    }
}

/// A poisoned lock is usable: no code panics while it holds it.
fn lock(kept: &Mutex<Option<MultiplexedConnection>>) -> MutexGuard<'_, Option<MultiplexedConnection>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl StatusStore for RedisStatusStore {
    async fn post(&self, report: &Report) -> Result<()> {
        let text = serde_json::to_string(report).unwrap_or_default();
        self.run(redis::cmd("SET").arg(&*self.relay.report).arg(text)).await
    }

    async fn read(&self) -> Result<Option<Report>> {
        let text: Option<String> = self.run(redis::cmd("GET").arg(&*self.relay.report)).await?;
        // A report that cannot be parsed was written by another version, and counts as none.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }
}
