//! `GET /writes`: what happened to each write, hop by hop.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use simulator_model::writes::{WRITES_MAX, WriteView};

use super::error::ApiError;
use super::request::Parameters;
use super::responses::Checked;
use super::state::Api;

const LIMIT_DEFAULT: u64 = 20;

/// The last writes that the consumer has handled, the newest first, each with its hops from the commit to the first read here that
/// contains it. The last two hops are measured while a client asks for writes or a panel is open, and for 90 s after; a hop that was
/// not measured says why.
#[utoipa::path(
    get, path = "/writes", tag = "control",
    params(("limit" = Option<u32>, Query, description = "Maximum number of results, 1 to 100. Default: 20", minimum = 1, maximum = 100)),
    responses((status = 200, description = "The writes, the newest first", body = Vec<WriteView>), Checked)
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Json<Vec<WriteView>>, ApiError> {
    let limit = parameters.number("limit", 1..=WRITES_MAX as u64).map_err(ApiError::problem)?.unwrap_or(LIMIT_DEFAULT);
    Ok(Json(api.writes.latest(usize::try_from(limit).unwrap_or(WRITES_MAX))))
}
