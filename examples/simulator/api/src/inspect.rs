//! `/cache` and `/consistency`: compare cached entries with their rows, and remove entries.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use simulator_model::inspector::{CacheView, Consistency, Verdict};
use utoipa::ToSchema;

use super::caller::Caller;
use super::error::ApiError;
use super::request::{Parameters, UserId};
use super::responses::{Changing, ChangingChecked, Checked};
use super::state::Api;

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 200;

/// Maximum number of concurrent peeks for one page.
const AT_ONCE: usize = 16;

/// A user's id, its entry and its row.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserCacheView {
    pub id: u64,
    #[serde(flatten)]
    pub view: CacheView,
}

/// The cached value of a user, the row, and whether they agree. Looks only: no fill, no lease, no touch.
///
/// While the database is away the state is `unknown`, and `error` says why.
#[utoipa::path(
    get, path = "/cache/users/{id}", tag = "cache", params(("id" = u64, Path, minimum = 1)),
    responses((status = 200, description = "Cache and database", body = CacheView), Checked)
)]
pub(crate) async fn show(State(api): State<Arc<Api>>, UserId(id): UserId) -> Json<CacheView> {
    Json(api.inspector.look(id).await)
}

/// The same for a page of users, by id.
#[utoipa::path(
    get, path = "/cache/users", tag = "cache",
    params(
        ("limit" = Option<u32>, Query, description = "Maximum number of results, 1 to 200. Default: 50", minimum = 1, maximum = 200),
        ("after" = Option<u64>, Query, description = "Only ids above this one. Default: 0", minimum = 0),
    ),
    responses((status = 200, description = "Cache and database", body = Vec<UserCacheView>), Checked)
)]
pub(crate) async fn page(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Json<Vec<UserCacheView>>, ApiError> {
    let limit = parameters.number("limit", 1..=LIMIT_MAX).map_err(ApiError::problem)?.unwrap_or(LIMIT_DEFAULT);
    let after = parameters.number("after", 0..=u64::MAX).map_err(ApiError::problem)?.unwrap_or(0);
    let users = api.database.list(after, u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    let inspector = &api.inspector;
    let views = stream::iter(users)
        .map(|user| async move { UserCacheView { id: user.id, view: inspector.look(user.id).await } })
        .buffered(AT_ONCE);
    Ok(Json(views.collect().await))
}

/// Removes a user's two entries from all tiers of all processes. The row stays.
#[utoipa::path(
    delete, path = "/cache/users/{id}", tag = "cache", params(("id" = u64, Path, minimum = 1)),
    responses((status = 204, description = "The entries are gone"), ChangingChecked)
)]
pub(crate) async fn invalidate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    UserId(id): UserId,
) -> Result<StatusCode, ApiError> {
    let outcome = api.inspector.remove(id).await;
    caller.audit(&api, &format!("cache of user {id} removed"), &outcome).await;
    outcome.map(|()| StatusCode::NO_CONTENT).map_err(|_| ApiError::store_away())
}

/// Empties the store, as if its server had restarted without its data, and what processes hold of it. In CDC mode
/// nothing is kept until the consumer has begun a new generation, seconds later.
#[utoipa::path(
    delete, path = "/cache", tag = "cache", responses((status = 204, description = "Nothing is cached"), Changing)
)]
pub(crate) async fn empty(State(api): State<Arc<Api>>, caller: Caller) -> Result<StatusCode, ApiError> {
    let outcome = api.store_admin.empty().await;
    caller.audit(&api, "cache emptied", &outcome).await;
    outcome.map(|_| StatusCode::NO_CONTENT).map_err(|_| ApiError::store_away())
}

/// What the inspector's last pass over all entries found; passes are a second apart.
#[utoipa::path(
    get, path = "/consistency", tag = "cache",
    params(("fresh" = Option<bool>, Query, description = "A pass is made now. Default: false")),
    responses((status = 200, description = "The verdict", body = Consistency), Checked)
)]
pub(crate) async fn consistency(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Json<Consistency>, ApiError> {
    let fresh = parameters.switch("fresh").map_err(ApiError::problem)?;
    let last = api.inspector.last();
    Ok(Json(match fresh || last.verdict == Verdict::Unknown {
        true => api.inspector.pass().await,
        false => last,
    }))
}
