//! The middleware that every request passes: tokens, timeout, panic handler, metrics.

use std::any::Any;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::get;
use simulator_model::credentials::Role;
use simulator_model::process;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::body::{BODY_BYTES_MAX, gather};
use super::caller::Caller;
use super::error::ApiError;
use super::state::Api;
use super::trace;
use crate::measure;

/// Timeout of a request, up to the head of its response. The body of an event stream is not limited.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Pages load everything from this program: no scripts, styles or frames from elsewhere, and none inline.
const PAGES_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                            form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Names the process that responds: behind one address there may be several, whose figures and process-local tiers differ.
pub const PROCESS: &str = "x-process";

/// Served without a token, for health checks.
const HEALTH_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// Returns true for the description of the API. It holds no data, and a browser that opens it cannot send a token.
fn is_description(path: &str) -> bool {
    path == "/openapi.json" || path == "/docs" || path.starts_with("/docs/")
}

/// Wraps `routes` in the checks. The last layer here sees a request first.
pub fn wrap(routes: Router, api: Arc<Api>) -> Router {
    let routes = routes
        .layer(middleware::from_fn(limit_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), shed))
        .layer(middleware::from_fn(gather))
        .layer(middleware::from_fn_with_state(api, authorize))
        .layer(middleware::from_fn(count))
        .layer(middleware::from_fn(trace::trace))
        .layer(SetResponseHeaderLayer::overriding(
            HeaderName::from_static(PROCESS),
            HeaderValue::from_static(process::name()),
        ));
    harden(routes)
}

/// `/metrics` of a process that serves the panel without the API. Empty without tokens, which control access to it.
pub fn metrics_page(api: Arc<Api>) -> Router {
    if api.access.tokens.is_empty() {
        return Router::new();
    }
    let page = Router::new().route("/metrics", get(super::health::metrics)).with_state(Arc::clone(&api));
    page.layer(middleware::from_fn_with_state(api, authorize))
}

/// Wraps the panel's pages, which have their own login.
pub fn wrap_pages(pages: Router) -> Router {
    let pages = pages
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(limit_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(SetResponseHeaderLayer::overriding(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(PAGES_POLICY),
        ))
        // With `no-referrer` a browser would also send no usable `Origin` with a form.
        .layer(SetResponseHeaderLayer::overriding(header::REFERRER_POLICY, HeaderValue::from_static("same-origin")));
    harden(pages)
}

/// DNS-rebinding protection: without tokens, only `localhost` names and literal IP addresses are accepted in `Host`. A
/// page of another site can reach this machine only under that site's own name.
pub(super) async fn own_host(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response<Body> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let in_header = hosts.next().map(|host| host.to_str().unwrap_or_default());
    // RFC 9112, section 3.2: exactly one, since HTTP/1.1.
    if hosts.next().is_some() || (in_header.is_none() && request.version() == Version::HTTP_11) {
        return ApiError::new(StatusCode::BAD_REQUEST, "A request has one Host").into_response();
    }
    let named = [request.uri().authority().map(|authority| authority.as_str()), in_header];
    let is_foreign = named.into_iter().flatten().any(|host| !is_own(host));
    let checked = !api.any_host && api.access.tokens.is_empty() && !HEALTH_PATHS.contains(&request.uri().path());
    if checked && is_foreign {
        let detail = "Without tokens the API is for this machine: ask for it by localhost or by an address";
        return ApiError::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response();
    }
    if checked && !request.method().is_safe() && is_of_another_site(request.headers()) {
        let detail =
            "A page of another site changes nothing here: without tokens the API is for this machine's own programs";
        return ApiError::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    next.run(request).await
}

/// Returns true if a browser says that a page of another site sent the request. Other programs say nothing of the kind.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let origin = text("origin").map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    text("sec-fetch-site") == Some("cross-site") || origin.is_some_and(|host| !is_own(host))
}

/// Returns true for `localhost`, a name below it, or an IP address; with or without a port.
fn is_own(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split(']').next().unwrap_or_default();
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<Ipv4Addr>().is_ok()
}

async fn authorize(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response<Body> {
    let tokens = &api.access.tokens;
    let path = request.uri().path();
    if tokens.is_empty() || HEALTH_PATHS.contains(&path) || is_description(path) {
        return next.run(request).await;
    }
    let needed = if request.method().is_safe() { Role::Viewer } else { Role::Operator };
    match tokens.role_of(request.headers()) {
        None => ApiError::unauthorized().into_response(),
        Some(role) if role < needed => ApiError::forbidden(needed).into_response(),
        Some(role) => {
            request.extensions_mut().insert(Caller(Some(role)));
            next.run(request).await
        }
    }
}

/// Sheds load: refuses requests beyond the in-flight limit before any work is done for them. Health checks and metrics
/// are always served.
async fn shed(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response<Body> {
    let always = HEALTH_PATHS.contains(&request.uri().path()) || request.uri().path() == "/metrics";
    match Arc::clone(&api.in_flight).try_acquire_owned() {
        Ok(_permit) => next.run(request).await,
        Err(_) if always => next.run(request).await,
        Err(_) => ApiError::unavailable("Too many requests at once").into_response(),
    }
}

/// Not tower-http's `TimeoutLayer`, whose response has no body: clients of the API find the reason in `detail`.
async fn limit_time(request: Request, next: Next) -> Response<Body> {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable("The request took too long").into_response(),
    }
}

fn panicked(_panic: Box<dyn Any + Send>) -> Response<Body> {
    tracing::error!("a handler panicked");
    ApiError::internal().into_response()
}

async fn count(request: Request, next: Next) -> Response<Body> {
    let counted = measure::Request::begin(request.method(), request.extensions().get::<MatchedPath>());
    let response = next.run(request).await;
    counted.answered(response.status());
    response
}

/// Sets headers that keep a browser from sniffing, caching or embedding a response, unless the handler has set them.
fn harden(routes: Router) -> Router {
    [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ]
    .into_iter()
    .fold(routes, |routes, (name, value)| {
        routes.layer(SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value)))
    })
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::serve::Listener;

    async fn broken() -> &'static str {
        tokio::task::yield_now().await;
        panic!("as asked")
    }

    #[test]
    fn an_open_api_is_asked_for_by_names_that_only_this_machine_has() {
        for own in
            ["localhost", "LOCALHOST:8000", "api.localhost:80", "127.0.0.1:8000", "10.1.2.3", "[::1]:8000", "[::1]"]
        {
            assert!(is_own(own), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "x:80@localhost",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "api:8000",
            "[x]",
        ] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_known_by_what_its_browser_says() {
        let of = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        for own in [HeaderMap::new(), of("origin", "http://localhost:8501"), of("sec-fetch-site", "same-origin")] {
            assert!(!is_of_another_site(&own), "{own:?}");
        }
        for foreign in [of("origin", "https://evil.example"), of("origin", "null"), of("sec-fetch-site", "cross-site")]
        {
            assert!(is_of_another_site(&foreign), "{foreign:?}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_of_500_and_the_next_request_is_served() {
        let pages = wrap_pages(Router::new().route("/", get(broken)));
        let listener = Listener::bind("TEST", "127.0.0.1:0").await.expect("a port");
        let (url, stop) = (format!("http://{}/", listener.addr), CancellationToken::new());
        let serving = listener.serve(pages, stop.clone());
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        for _ in 0..2 {
            let answer = client.get(&url).send().await.expect("an answer");
            assert_eq!(answer.status(), 500);
            assert_eq!(answer.text().await.expect("a body"), "{\"detail\":\"Internal Server Error\"}");
        }
        stop.cancel();
        serving.await.expect("the server");
    }
}
