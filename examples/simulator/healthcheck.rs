//! Asks a running program whether it serves, for a container's health check.

use crate::config::{HealthFlags, Settings, duration};
use crate::fatal::{Fatal, why};

/// # Errors
/// A line that says why it does not count as healthy.
pub(crate) async fn run(settings: &Settings, flags: &HealthFlags) -> Result<(), Fatal> {
    let url = flags.url.clone().unwrap_or_else(|| format!("{}/healthz", settings.api_url));
    let timeout = duration::parse("--timeout", &flags.timeout)?;
    let failed = |error: reqwest::Error| Fatal::new(format!("{url} does not answer: {}", why(&error)));
    let client = reqwest::Client::builder().timeout(timeout).no_proxy().build().map_err(failed)?;
    let status = client.get(&url).send().await.map_err(failed)?.status();
    match status.is_success() {
        true => Ok(()),
        false => Err(Fatal::new(format!("{url} answers {status}"))),
    }
}
