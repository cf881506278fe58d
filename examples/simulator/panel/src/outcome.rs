//! What every handler does with its outcome: an entry in the audit list, and a response that also updates the pages.

use std::fmt::Display;

use axum::response::Response;
use simulator_access::Session;

use super::panel::Panel;
use super::reply::accepted;

/// Records an action and its outcome in the audit list, and returns the outcome.
pub(super) async fn noted<T, E: Display>(
    panel: &Panel,
    reader: &Session,
    what: String,
    outcome: Result<T, E>,
) -> Result<T, E> {
    let result = match &outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    panel.api.access.audit(&reader.name, &what, &result).await;
    outcome
}

pub(super) fn done(panel: &Panel, message: impl Into<String>) -> Response {
    panel.live.nudge();
    accepted(message)
}
