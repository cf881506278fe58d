//! Debezium's connector: registered, followed and restarted by `cachefront::kafka::connect`, with the simulator's
//! settings.

mod bootstrap;
mod client;

pub use bootstrap::bootstrap;
pub use cachefront::kafka::connect::{ConnectError, ConnectorState, TaskState, Watchdog};

use cachefront::kafka::connect::WatchdogSettings;
use client::client;
use simulator_cli::CliError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::settings::{Backend, Settings, Source};

/// Follows the connector, if changes come from Kafka and the URL of Kafka Connect is known. Every role follows it; only
/// one that `restarts` restarts failed tasks, so that several processes do not restart a task at once.
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
