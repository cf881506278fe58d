//! Request ids, and the time that each request took.
//!
//! Not tower-http's `SetRequestIdLayer`, which takes any id that a client sends: ids appear in logs.

use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Response};
use axum::middleware::Next;
use cachefront::Entropy;
use cachefront::clock::SystemEntropy;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Maximum length of an id that a client may choose.
const ID_BYTES_MAX: usize = 64;

/// Takes the client's `x-request-id` or generates one, logs it, and returns it together with `Server-Timing`.
pub(super) async fn trace(mut request: Request, next: Next) -> Response<Body> {
    let started = Instant::now();
    let id = request.headers().get(REQUEST_ID).filter(|id| is_usable(id)).cloned().unwrap_or_else(made_up);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let mut response = next.run(request).instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    let spent = started.elapsed().as_secs_f64() * 1e3;
    if let Ok(value) = HeaderValue::from_str(&format!("total;dur={spent:.3}")) {
        response.headers_mut().append(SERVER_TIMING, value);
    }
    response
}

/// Returns true if the id is short and holds only letters, digits and `-_.`: it appears in logs.
fn is_usable(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=ID_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn made_up() -> HeaderValue {
    // Hexadecimal digits are always a valid header value.
    HeaderValue::from_str(&format!("{:032x}", SystemEntropy.random_u128())).unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_short_plain_id_is_taken() {
        for good in ["a", "req-1_2.3", &"x".repeat(64)] {
            assert!(is_usable(&HeaderValue::from_str(good).expect("a header")), "{good}");
        }
        for bad in ["", "a b", "a\tb", "<script>", &"x".repeat(65)] {
            assert!(!is_usable(&HeaderValue::from_str(bad).expect("a header")), "{bad}");
        }
        assert!(is_usable(&made_up()));
    }
}
