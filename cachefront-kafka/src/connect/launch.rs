//! Registration of a connector, and the wait until it runs.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::{ConnectClient, Registered};
use super::config::ConnectorConfig;
use super::error::ConnectError;
use super::status::ConnectorStatus;
use crate::config::DURATION_MAX;
use crate::event::ConnectorVersion;

/// Interval of checks.
const INTERVAL: Duration = Duration::from_millis(250);
/// Maximum time until a restart shows in the status.
const RESTART_MAX: Duration = Duration::from_secs(2);
/// Number of restarts before a failure counts: the status may still show an older one.
const RESTARTS_MAX: u32 = 2;

/// The time allowed for an operation.
struct Allowed {
    timeout: Duration,
    deadline: Instant,
    warned: bool,
}

impl Allowed {
    fn new(timeout: Duration) -> Self {
        Self { timeout, deadline: Instant::now() + timeout.min(DURATION_MAX), warned: false }
    }

    /// Pauses after a failure, which is logged once.
    ///
    /// # Errors
    /// [`ConnectError::TimedOut`] if the time has expired.
    async fn pause(&mut self, client: &ConnectClient, last: ConnectError) -> Result<(), ConnectError> {
        if Instant::now() + INTERVAL >= self.deadline {
            return Err(ConnectError::TimedOut { timeout: self.timeout, last: Box::new(last) });
        }
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(host = client.host(), reason = last.summary(), "waiting for Kafka Connect");
        }
        sleep(INTERVAL).await;
        Ok(())
    }
}

impl ConnectClient {
    /// Waits until the worker is ready, then creates or reconfigures the connector `name`. Idempotent.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] if the worker cannot use the configuration; Kafka Connect responds with status 500 to many
    /// wrong settings, and only its log has the reason. [`ConnectError::TimedOut`] if the worker is not ready within
    /// `timeout`.
    ///
    /// # Cancel safety
    /// The connector may or may not be registered if the future is dropped.
    pub async fn register(
        &self,
        name: &str,
        config: &ConnectorConfig,
        timeout: Duration,
    ) -> Result<Registered, ConnectError> {
        let mut allowed = Allowed::new(timeout);
        while let Err(error) = self.ready().await {
            allowed.pause(self, error).await?;
        }
        loop {
            match self.put(name, config).await {
                Err(error) if error.is_transient() => allowed.pause(self, error).await?,
                Err(error) => return Err(error),
                Ok(registered) => {
                    self.warn_of_old_version(name).await;
                    return Ok(registered);
                }
            }
        }
    }

    /// Warns if the worker's connector may count transactions wrongly.
    async fn warn_of_old_version(&self, name: &str) {
        let wanted = ConnectorVersion::KEEPS_COUNTS;
        match self.connector_version().await {
            Ok(Some(version)) if !version.keeps_counts() => tracing::warn!(
                connector = name,
                "the worker has Debezium {version}, which counts the events of a transaction from 1 again if it is restarted \
                 within the transaction, after which everything cached is flushed: upgrade it to {wanted} or later"
            ),
            Ok(_) => {}
            Err(error) => tracing::debug!(error = %error.summary(), "the connector's version is unknown"),
        }
    }

    /// Waits until the connector and its tasks run. A connector that is paused or stopped is resumed, and failed tasks are
    /// restarted twice.
    ///
    /// # Errors
    /// [`ConnectError::Failed`] if a task still fails, [`ConnectError::TimedOut`] if the connector does not run within
    /// `timeout`.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_until_running(&self, name: &str, timeout: Duration) -> Result<(), ConnectError> {
        let mut allowed = Allowed::new(timeout);
        let (mut restarts, mut resumed) = (0, false);
        loop {
            let reason = match self.status(name).await {
                Ok(status) if status.is_running() => return Ok(()),
                Ok(status) if status.is_paused() && !resumed => {
                    resumed = self.resume(name).await.is_ok();
                    ConnectError::Busy("the connector was paused and is being resumed".into())
                }
                Ok(status) => match status.failed() {
                    Some(failed) if restarts >= RESTARTS_MAX => return Err(ConnectError::Failed(failed.clone())),
                    Some(failed) => {
                        restarts += u32::from(self.restart_failed(name).await.is_ok());
                        self.wait_for_change(name, &status, allowed.deadline).await;
                        ConnectError::Failed(failed.clone())
                    }
                    None => ConnectError::Busy(format!("the connector is {}", status.connector.state)),
                },
                // A worker needs a moment to assign a new connector.
                Err(error) => error,
            };
            allowed.pause(self, reason).await?;
        }
    }

    /// Waits until a restart shows in the status.
    async fn wait_for_change(&self, name: &str, before: &ConnectorStatus, deadline: Instant) {
        let until = deadline.min(Instant::now() + RESTART_MAX);
        while Instant::now() < until && self.status(name).await.is_ok_and(|now| now == *before) {
            sleep(INTERVAL).await;
        }
    }
}
