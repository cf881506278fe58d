//! The HTTP API: the contract that other programs drive.

mod body;
mod cached;
pub(crate) mod caller;
pub(crate) mod control;
mod docs;
pub(crate) mod error;
mod faults;
pub(crate) mod guard;
mod health;
mod inspect;
pub(crate) mod request;
mod responses;
mod stream;
mod trace;
mod users;

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{delete, get};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use self::body::read_body;
pub(crate) use self::docs::openapi_text;
use self::error::ApiError;
pub(crate) use self::health::healthz;
pub(crate) use self::stream::announcements;
use crate::access::Access;
use crate::caches::Caches;
use crate::connect::Watchdog;
use crate::domain::Database;
use crate::events::EventHub;
use crate::faults::Faults;
use crate::inspector::Inspector;
use crate::metrics::Metrics;
use crate::mode::Modes;
use crate::pipeline::Pipeline;
use crate::world::Emptier;

/// At most this many clients follow `/events` at once.
const STREAMS_MAX: usize = 256;

/// What handlers work with.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) caches: Caches,
    pub(crate) modes: Arc<Modes>,
    pub(crate) pipeline: Pipeline,
    pub(crate) events: EventHub,
    pub(crate) metrics: Metrics,
    pub(crate) access: Arc<Access>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) inspector: Arc<Inspector>,
    pub(crate) emptier: Emptier,
    /// Debezium's connector, where one carries the changes.
    pub(crate) connector: Option<Watchdog>,
    /// How many requests may be answered at once.
    pub(crate) in_flight: Arc<Semaphore>,
    /// How many that are when none is being answered.
    pub(crate) in_flight_max: usize,
    pub(crate) streams: Arc<Semaphore>,
    /// True if whoever reaches the API may use it by any name, though there are no tokens.
    pub(crate) any_host: bool,
    /// True if this process is to keep the pipeline running.
    pub(crate) consumes: bool,
    /// Ends the event streams, which would otherwise hold up a shutdown.
    pub(crate) stop: CancellationToken,
}

/// How many clients may follow the events.
pub(crate) fn stream_permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS_MAX))
}

/// All routes, behind the checks that every request passes.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::index))
        .route("/docs/", get(docs::index))
        .route("/docs/{file}", get(docs::file))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{id}", get(users::read).put(users::update).delete(users::delete))
        .route("/cache", delete(inspect::empty))
        .route("/cache/users", get(inspect::page))
        .route("/cache/users/{id}", get(inspect::show).delete(inspect::invalidate))
        .route("/consistency", get(inspect::consistency))
        .route("/faults", get(faults::show).put(faults::set).delete(faults::clear))
        .route("/modes/history", get(control::history))
        .route("/mode", get(control::mode).put(control::set_mode))
        .route("/pipeline", get(control::pipeline))
        .route("/events", get(stream::events))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::clone(&api))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard::own_host));
    guard::wrap(routes, api)
}

/// The few pages of a consumer that serves no users.
pub(crate) fn consumer_router(api: Arc<Api>) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::clone(&api));
    guard::wrap(routes, api)
}

fn not_found() -> Ready<ApiError> {
    ready(ApiError::new(StatusCode::NOT_FOUND, "Not Found"))
}

fn not_allowed() -> Ready<ApiError> {
    ready(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
}
