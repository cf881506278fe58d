//! Bodies of requests: read whole before a request takes a place among those that are answered.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::error::ApiError;

/// The largest body that is read. Two names of 255 characters, each escaped, fit several times.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// A body has to be there within this time. It holds nothing up but its own connection.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Why there is no body to look into. Whoever wants it answers that; a request that is refused for something else, or
/// needs no body, is answered as if the body were right.
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

/// Reads the body before anything is done for the request. Clients that are slow to send it hold up nobody else.
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

/// The whole body. One that is too large is not read on: what is left of it is thrown away after the answer.
///
/// # Errors
/// What is wrong with it.
pub async fn read_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, BodyFault> {
    let told = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        // Not even begun: a client that asks first (`Expect: 100-continue`) does not send it.
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
