//! Debezium's connector: registered, waited for, and followed.
//!
//! - [`template`]: `connector.json` with its places filled; what each line is for stands in `docs/connector.md`;
//! - [`rest`]: what is said to Kafka Connect;
//! - [`bootstrap`]: registers the connector and waits until it runs;
//! - [`watchdog`]: follows its tasks and starts those again that failed.

mod bootstrap;
mod redact;
mod rest;
mod template;
mod watchdog;

pub use bootstrap::bootstrap;
pub use watchdog::{ConnectorState, TaskState, Watchdog};

use std::time::Duration;

use rest::Rest;
use simulator_cli::CliError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchdog::WatchdogSettings;

use crate::settings::{Backend, Settings, Source};

/// How long one question to Kafka Connect may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Follows the connector that carries the changes, if one does and Kafka Connect can be asked. Every role looks; only one
/// that `restarts` starts failed tasks again, so that several processes do not do it at once.
///
/// # Errors
/// A line that says what is wrong with the settings.
pub fn follow(
    settings: &Settings,
    restarts: bool,
    stop: &CancellationToken,
) -> Result<Option<(Watchdog, JoinHandle<()>)>, CliError> {
    match &settings.backend {
        Backend::Stack(stack) if stack.source == Source::Kafka && stack.kafka.is_connect_known => {
            let rest = Rest::new(&stack.kafka, REQUEST_TIMEOUT)?;
            let watched = WatchdogSettings { restarts, ..WatchdogSettings::default() };
            Ok(Some(Watchdog::spawn(rest, &stack.kafka.prefix, watched, stop.clone())))
        }
        _ => Ok(None),
    }
}
