//! The client of Kafka Connect with the simulator's settings.

use std::time::Duration;

use cachefront::kafka::connect::{ConnectClient, Redactor};
use simulator_cli::{CliError, ExposeSecret};

use crate::settings::Kafka;

/// Timeout of a request to Kafka Connect.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns a client that hides the passwords of the settings.
pub(super) fn client(kafka: &Kafka) -> Result<ConnectClient, CliError> {
    let redactor = Redactor::new().with_url(kafka.connect_mysql_url.expose_secret());
    let redactor = kafka
        .connect_client
        .iter()
        .fold(redactor, |redactor, (_, value)| redactor.with_client_setting(value.expose_secret()));
    ConnectClient::builder(kafka.connect_url.expose_secret())
        .request_timeout(REQUEST_TIMEOUT)
        .redactor(redactor)
        .build()
        .map_err(|error| CliError::new(error.summary()))
}
