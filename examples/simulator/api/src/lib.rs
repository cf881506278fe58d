//! The HTTP API, which other programs use.

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
mod servers;
mod state;
mod stream;
mod trace;
mod users;
mod writes;

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Router, middleware};

pub use self::body::read_body;
pub use self::docs::openapi_text;
use self::error::ApiError;
pub use self::guard::PROCESS;
pub use self::health::healthz;
pub use self::state::{Api, stream_permits};
pub use self::stream::announcements;

/// Returns all routes, wrapped in the checks that every request passes.
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
        .route("/servers", get(servers::list))
        .route("/servers/{server}/users/{id}", get(servers::read))
        .route("/modes/history", get(control::history))
        .route("/mode", get(control::mode).put(control::set_mode))
        .route("/pipeline", get(control::pipeline))
        .route("/writes", get(writes::list))
        .route("/events", get(stream::events))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::clone(&api))
        .layer(middleware::from_fn(query::refuse_unknown))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard::own_host));
    guard::wrap(routes, api)
}

/// Returns the routes of a consumer, which serves no users: health and metrics.
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
