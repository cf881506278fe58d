//! Liveness, readiness and metrics.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::responses::Any;
use super::state::Api;

/// A component that does not respond within this time counts as failing.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The process serves.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// Whether everything is there that reads and writes need.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ok` or `failing`.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Of `database`, `store`, and `pipeline` where this process runs it.
    pub failing: Vec<&'static str>,
    /// The faults that are switched on, so that none of them is forgotten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<&'static str>,
}

/// True while the process serves.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "The process serves", body = Health)))]
pub fn healthz() -> Ready<Json<Health>> {
    ready(Json(Health { status: "ok" }))
}

/// Asks the database and the store.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "Everything is there", body = Readiness),
        (status = 503, description = "Something is away", body = Readiness),
    )
)]
pub(crate) async fn readyz(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let database = tokio::time::timeout(ANSWER_MAX, api.database.ping());
    let store = tokio::time::timeout(ANSWER_MAX, api.pipeline.is_store_reachable());
    let (database, store) = tokio::join!(database, store);
    let mut failing = Vec::new();
    if !matches!(database, Ok(Ok(()))) {
        failing.push("database");
    }
    if !matches!(store, Ok(true)) {
        failing.push("store");
    }
    if api.consumes && failing.is_empty() && !api.pipeline.view().await.running {
        failing.push("pipeline");
    }
    let faults = api.faults.current().active();
    match failing.is_empty() {
        true => (StatusCode::OK, Json(Readiness { status: "ok", failing, faults })),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness { status: "failing", failing, faults })),
    }
}

/// Every counter and histogram, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "The numbers", body = String, content_type = "text/plain"), Any))]
pub(crate) fn metrics(State(api): State<Arc<Api>>) -> Ready<impl IntoResponse> {
    api.inspector.interest().show();
    // Passes pause while no client watches: an outdated verdict is published as unknown. The call above resumes them.
    api.inspector.forget_what_is_outdated();
    let free = api.in_flight.available_permits();
    simulator_model::metrics::observe_saturation(api.database.connections(), api.in_flight_max, free);
    ready(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.metrics.render()))
}
