//! Asks a running program whether it serves, for a container's health check.

use simulator_cli::{CliError, duration, root_cause};
use simulator_model::settings::Settings;

use crate::cli::HealthFlags;

/// Requests the health page once.
///
/// # Errors
/// A line that says why the program does not count as healthy.
pub(crate) async fn run(settings: &Settings, flags: &HealthFlags) -> Result<(), CliError> {
    let url = flags.url.clone().unwrap_or_else(|| format!("{}/healthz", settings.api_url));
    let timeout = duration::parse("--timeout", &flags.timeout)?;
    let failed = |error: reqwest::Error| CliError::new(format!("{url} does not respond: {}", root_cause(&error)));
    let client = reqwest::Client::builder().timeout(timeout).no_proxy().build().map_err(failed)?;
    let status = client.get(&url).send().await.map_err(failed)?.status();
    match status.is_success() {
        true => Ok(()),
        false => Err(CliError::new(format!("{url} returned {status}"))),
    }
}
