//! The HTTP API: the contract that other programs drive.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

mod body;
mod cached;
mod caller;
mod control;
mod docs;
mod error;
mod faults;
pub mod guard;
mod health;
mod inspect;
mod measure;
mod query;
mod request;
mod responses;
pub mod serve;
mod stream;
mod trace;
mod users;

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Router, middleware};
use simulator_access::Access;
use simulator_model::caches::Caches;
use simulator_model::connect::Watchdog;
use simulator_model::domain::Database;
use simulator_model::events::EventHub;
use simulator_model::faults::Faults;
use simulator_model::inspector::Inspector;
use simulator_model::metrics::Metrics;
use simulator_model::mode::Modes;
use simulator_model::pipeline::Pipeline;
use simulator_model::world::Emptier;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::body::read_body;
pub use self::docs::openapi_text;
use self::error::ApiError;
pub use self::health::healthz;
pub use self::stream::announcements;

/// At most this many clients follow `/events` at once.
const STREAMS_MAX: usize = 256;

/// What handlers work with.
#[derive(Debug)]
pub struct Api {
    pub database: Arc<dyn Database>,
    pub caches: Caches,
    pub modes: Arc<Modes>,
    pub pipeline: Pipeline,
    pub events: EventHub,
    pub metrics: Metrics,
    pub access: Arc<Access>,
    pub faults: Arc<Faults>,
    pub inspector: Arc<Inspector>,
    pub emptier: Emptier,
    /// Debezium's connector, where one carries the changes.
    pub connector: Option<Watchdog>,
    /// How many requests may be answered at once.
    pub in_flight: Arc<Semaphore>,
    /// How many that are when none is being answered.
    pub in_flight_max: usize,
    pub streams: Arc<Semaphore>,
    /// True if whoever reaches the API may use it by any name, though there are no tokens.
    pub any_host: bool,
    /// True if this process is to keep the pipeline running.
    pub consumes: bool,
    /// Ends the event streams, which would otherwise hold up a shutdown.
    pub stop: CancellationToken,
}

/// How many clients may follow the events.
pub fn stream_permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS_MAX))
}

/// All routes, behind the checks that every request passes.
pub fn router(api: Arc<Api>) -> Router {
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
        .layer(middleware::from_fn(query::refuse_unknown))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard::own_host));
    guard::wrap(routes, api)
}

/// The few pages of a consumer that serves no users.
pub fn consumer_router(api: Arc<Api>) -> Router {
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
