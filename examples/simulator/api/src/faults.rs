//! `/faults`: switches for deliberate faults.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use simulator_model::faults::FaultState;
use simulator_model::server_name::ServerName;
use utoipa::ToSchema;

use super::caller::Caller;
use super::error::ApiError;
use super::request::JsonBody;
use super::responses::{Any, Changing, WithBody};
use super::state::Api;

/// What a client wants to break: what is not named is off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = FaultInput)]
#[derive(Default)]
pub(crate) struct FaultBody {
    pause_consumer: bool,
    freeze_stream: bool,
    drop_events: bool,
    #[schema(maximum = 10_000)]
    store_delay_ms: u64,
    store_cut: bool,
    #[schema(maximum = 10_000)]
    database_delay_ms: u64,
    #[schema(maximum = 10_000)]
    replica_lag_ms: u64,
    /// One of the servers that `GET /servers` lists.
    bus_cut: Option<ServerName>,
}

/// Which faults are switched on.
#[utoipa::path(
    get, path = "/faults", tag = "faults",
    responses((status = 200, description = "The switches", body = FaultState), Any)
)]
pub(crate) async fn show(State(api): State<Arc<Api>>) -> Json<FaultState> {
    // If the database is unavailable, the switches in force in this process are still known.
    Json(api.faults.look().await)
}

/// Sets every switch: those that are not named are off. In force here with the answer, elsewhere within a second; kept
/// over restarts.
#[utoipa::path(
    put, path = "/faults", tag = "faults", request_body = FaultBody,
    responses((status = 200, description = "The switches", body = FaultState), WithBody)
)]
pub(crate) async fn set(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<FaultState>, ApiError> {
    change(&api, caller, body.faults(&api.servers)?).await
}

/// Switches everything off.
#[utoipa::path(
    delete, path = "/faults", tag = "faults",
    responses((status = 200, description = "The switches, all off", body = FaultState), Changing)
)]
pub(crate) async fn clear(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<FaultState>, ApiError> {
    change(&api, caller, FaultState::default()).await
}

async fn change(api: &Api, caller: Caller, state: FaultState) -> Result<Json<FaultState>, ApiError> {
    let outcome = api.faults.set(state).await;
    let active = state.active();
    let what = if active.is_empty() { "faults off".to_owned() } else { format!("faults {}", active.join(", ")) };
    caller.audit(api, &what, &outcome).await;
    Ok(Json(outcome?))
}
