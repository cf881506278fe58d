//! Reads request bodies completely before a request takes one of the in-flight permits.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::error::ApiError;

/// Maximum size of a body. Two names of 255 characters fit several times, even with every character escaped.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// Timeout for reading a body. A slow body holds up only its own connection.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Why the body is not available. Only handlers that need a body report it: a request that needs none, or is refused
/// for another reason, gets the same response as with a valid body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    TooLarge,
    TooSlow,
    Broken,
}

impl From<BodyFault> for ApiError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is larger than {BODY_BYTES_MAX} bytes"))
            }
            BodyFault::TooSlow => {
                Self::new(StatusCode::REQUEST_TIMEOUT, format!("The body was not there within {BODY_TIME_MAX:?}"))
            }
            BodyFault::Broken => Self::new(StatusCode::BAD_REQUEST, "The body could not be read"),
        }
    }
}

impl IntoResponse for BodyFault {
    fn into_response(self) -> Response {
        ApiError::from(self).into_response()
    }
}

/// Middleware that buffers the body before the request takes a permit, so that slow clients do not hold up others.
pub(super) async fn gather(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let body = match read_body(&parts.headers, body).await {
        Ok(bytes) => Body::from(bytes),
        Err(fault) => {
            parts.extensions.insert(fault);
            Body::empty()
        }
    };
    next.run(Request::from_parts(parts, body)).await
}

/// Reads a whole body. Stops at one that is too large; the rest is drained after the response.
///
/// # Errors
/// Why the body could not be read.
pub async fn read_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, BodyFault> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        // Refused before the first read, so that a client with `Expect: 100-continue` does not send the body.
        return Err(BodyFault::TooLarge);
    }
    match tokio::time::timeout(BODY_TIME_MAX, read_all(body)).await {
        Ok(read) => read,
        Err(_) => Err(BodyFault::TooSlow),
    }
}

async fn read_all(body: Body) -> Result<Vec<u8>, BodyFault> {
    let mut read = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyFault::Broken)?;
        if read.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(BodyFault::TooLarge);
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}
