//! `GET /cache/users/{id}`: the cached value beside the database's, without touching either.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::error::{ApiError, ErrorBody, ProblemsBody};
use super::request::UserId;
use crate::inspector::CacheView;

/// The cached value of a user, the row, and whether they agree. Looks only.
#[utoipa::path(
    get, path = "/cache/users/{id}", tag = "cache", params(("id" = u64, Path, minimum = 1)),
    responses(
        (status = 200, description = "Cache and database", body = CacheView),
        (status = 422, description = "The request is wrong", body = ProblemsBody),
        (status = 503, description = "The request took too long", body = ErrorBody),
    )
)]
pub(crate) async fn show(State(api): State<Arc<Api>>, UserId(id): UserId) -> Result<Json<CacheView>, ApiError> {
    Ok(Json(api.inspector.look(id).await))
}
