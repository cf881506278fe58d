//! The responses to buttons: one line for people to read.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The response to every button.
#[derive(Debug, Serialize)]
struct ActionResponse {
    ok: bool,
    /// Why the action was refused, for programs, where the status alone does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    message: String,
}

pub(super) fn accepted(message: impl Into<String>) -> Response {
    Json(ActionResponse { ok: true, code: None, message: message.into() }).into_response()
}

pub(super) fn refused(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(ActionResponse { ok: false, code: None, message: message.into() })).into_response()
}

/// As [`refused`], with a code that stays the same when the text changes.
pub(super) fn refused_as(status: StatusCode, code: &'static str, message: impl Into<String>) -> Response {
    (status, Json(ActionResponse { ok: false, code: Some(code), message: message.into() })).into_response()
}

/// Returns `503 Service Unavailable` and asks the client to retry after a second.
pub(super) fn too_many(message: &str) -> Response {
    later(StatusCode::SERVICE_UNAVAILABLE, message, Duration::ZERO)
}

pub(super) fn later(status: StatusCode, message: &str, wait: Duration) -> Response {
    let mut response = refused(status, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)));
    response
}
