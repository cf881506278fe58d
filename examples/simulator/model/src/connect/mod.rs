//! Debezium's connector: registered, followed and restarted by `cachefront::kafka::connect`, with the simulator's settings.

mod bootstrap;

pub use bootstrap::bootstrap;
pub use cachefront::kafka::connect::{ConnectError, ConnectorState, TaskState, Watchdog};

use std::time::Duration;

use cachefront::kafka::connect::{ConnectClient, Redactor, WatchdogSettings};
use simulator_cli::CliError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::settings::{Backend, Kafka, Settings, Source};

/// Timeout of a request to Kafka Connect.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Follows the connector, if changes come from Kafka and the URL of Kafka Connect is known. Every role follows it; only one
/// that `restarts` restarts failed tasks, so that several processes do not restart a task at once.
///
/// # Errors
/// If the client cannot be created.
pub fn follow(
    settings: &Settings,
    restarts: bool,
    stop: &CancellationToken,
) -> Result<Option<(Watchdog, JoinHandle<()>)>, CliError> {
    match &settings.backend {
        Backend::Stack(stack) if stack.source == Source::Kafka && stack.kafka.is_connect_known => {
            let client = client(&stack.kafka)?;
            let settings = WatchdogSettings::default().with_restarts(restarts);
            Ok(Some(Watchdog::spawn(client, &stack.kafka.prefix, settings, stop.clone().cancelled_owned())))
        }
        _ => Ok(None),
    }
}

/// Returns a client that hides the passwords of the settings.
fn client(kafka: &Kafka) -> Result<ConnectClient, CliError> {
    let redactor = Redactor::new().with_url(kafka.connect_mysql_url.expose());
    let redactor =
        kafka.connect_client.iter().fold(redactor, |redactor, (_, value)| redactor.with_client_setting(value.expose()));
    ConnectClient::builder(kafka.connect_url.expose())
        .request_timeout(REQUEST_TIMEOUT)
        .redactor(redactor)
        .build()
        .map_err(|error| CliError::new(error.summary()))
}
