//! Response headers that describe a cached read.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cachefront::{Hit, Tier};

use super::request::TOKEN_HEADER;

/// Maximum size of a position in a header. Longer ones are omitted, because clients limit headers too.
const POSITION_BYTES_MAX: usize = 4 * 1024;

/// Returns `hit` if a tier had the value, `miss` if it was loaded and cached, and `bypass` if it was loaded and not
/// cached: the store is unavailable, the key was invalidated in the meantime, or no entry could prove the requested
/// freshness.
fn outcome<V>(hit: &Hit<V>) -> &'static str {
    match (hit.tier, hit.ttl) {
        (Tier::Local | Tier::Shared, _) => "hit",
        (_, Some(_)) => "miss",
        (_, None) => "bypass",
    }
}

/// Returns the headers of a response that was read through the cache by a read that began at `started`.
pub(super) fn headers<V>(hit: &Hit<V>, started: Instant) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let outcome = outcome(hit);
    headers.insert(HeaderName::from_static("x-cache"), HeaderValue::from_static(outcome));
    headers.insert(HeaderName::from_static("x-cache-tier"), HeaderValue::from_static(hit.tier.as_str()));
    if let Some(age) = hit.age {
        headers.insert(HeaderName::from_static("x-cache-age"), HeaderValue::from(millis(age)));
    }
    let position = hit.position.as_ref().map(ToString::to_string).filter(|text| text.len() <= POSITION_BYTES_MAX);
    if let Some(value) = position.filter(|text| !text.is_empty()).and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(HeaderName::from_static("x-cache-position"), value.clone());
        headers.insert(HeaderName::from_static(TOKEN_HEADER), value);
    }
    let spent = started.elapsed().as_secs_f64() * 1e3;
    if let Ok(value) = HeaderValue::from_str(&format!("cache;desc=\"{outcome} {}\";dur={spent:.3}", hit.tier.as_str()))
    {
        headers.insert(HeaderName::from_static("server-timing"), value);
    }
    headers
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
