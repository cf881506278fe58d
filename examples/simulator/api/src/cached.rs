//! Response headers that describe a cached read.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cachefront::{Hit, Position, Tier};

use super::request::TOKEN_HEADER;

/// Maximum size of a position in a header. Longer ones are omitted, because clients limit headers too.
const POSITION_BYTES_MAX: usize = 4 * 1024;

/// Returns `stale` if a load failed or was slow and the last value of this process is served instead, `hit` if a tier had
/// the value, `miss` if it was loaded and cached, and `bypass` if it was loaded and not cached: the store is unavailable, the key was invalidated in the meantime, or no entry could prove the requested
/// freshness.
fn outcome<V>(hit: &Hit<V>) -> &'static str {
    match (hit.tier, hit.ttl) {
        _ if hit.stale => "stale",
        (Tier::Local | Tier::Shared, _) => "hit",
        (_, Some(_)) => "miss",
        (_, None) => "bypass",
    }
}

/// Whether the value is proven to contain the token of the request.
const TOKEN_STATE: &str = "x-cache-token";

/// Returns the headers of a response that was read through the cache by a read that began at `started`, and that required
/// the commits of `token`.
pub(super) fn headers<V>(hit: &Hit<V>, token: Option<&Position>, started: Instant) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        // Of a token that the database has never reached, or that was lost in a failover, nothing is claimed.
        let contained = hit.position.as_ref().is_some_and(|position| position.covers(token));
        let state = if contained { "contained" } else { "not-contained" };
        headers.insert(HeaderName::from_static(TOKEN_STATE), HeaderValue::from_static(state));
    }
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

#[cfg(test)]
mod tests {
    use simulator_model::domain::User;

    use super::*;

    #[tokio::test]
    async fn a_token_of_the_future_is_not_called_contained() {
        let cache: cachefront::Cache<u64, User> = cachefront::Cache::builder("users").build().expect("a cache");
        let load = |cx: std::sync::Arc<cachefront::LoadCx>| async move {
            cx.position("a:1-5".parse().expect("a position"));
            Ok::<_, std::io::Error>(None)
        };
        let hit = cache.get_or_load(&1, load).detailed().await.expect("a value");
        for (token, state) in [(Some("a:5"), Some("contained")), (Some("a:6"), Some("not-contained")), (None, None)] {
            let token: Option<Position> = token.map(|text| text.parse().expect("a token"));
            let headers = headers(&hit, token.as_ref(), Instant::now());
            assert_eq!(headers.get(TOKEN_STATE).map(|value| value.to_str().expect("text")), state);
        }
    }
}
