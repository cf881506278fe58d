//! `GET /cache/users/{id}`: the cached value beside the database's, without touching either.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cachefront::Hit;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, ErrorBody, ProblemsBody};
use super::request::UserId;
use crate::domain::{DbError, User};

/// An entry that changes between two looks is looked at again, at most so often.
const LOOKS_MAX: usize = 32;

/// How an entry compares with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EntryState {
    /// A plain read would load.
    Absent,
    /// The entry equals the row, or says that there is none and there is none.
    Healthy,
    /// The entry differs, and was the same before and after the database was read.
    Stale,
}

/// The cached value beside the database's.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = CacheView)]
pub(crate) struct CacheView {
    pub(crate) state: EntryState,
    /// What a plain read here and now would serve without loading.
    pub(crate) cached: Option<User>,
    /// The row.
    pub(crate) database: Option<User>,
    /// True if the entry says that there is no such row.
    pub(crate) negative: bool,
    /// How long the entry may still be served.
    pub(crate) ttl_ms: Option<u64>,
    /// `local` for this process's memory, `shared` for the store.
    pub(crate) tier: Option<&'static str>,
    /// Commits that the entry is proven to contain.
    pub(crate) position: Option<String>,
    /// The entry was current within this time; null if that is not known.
    pub(crate) staleness_bound_ms: Option<u64>,
}

impl CacheView {
    fn absent(database: Option<User>) -> Self {
        Self {
            state: EntryState::Absent,
            cached: None,
            database,
            negative: false,
            ttl_ms: None,
            tier: None,
            position: None,
            staleness_bound_ms: None,
        }
    }

    fn of(hit: Hit<User>, database: Option<User>) -> Self {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            state: if hit.value == database { EntryState::Healthy } else { EntryState::Stale },
            negative: hit.value.is_none(),
            cached: hit.value,
            database,
            ttl_ms: hit.ttl.map(millis),
            tier: Some(hit.tier.as_str()),
            position: hit.position.map(|position| position.to_string()),
            staleness_bound_ms: hit.staleness_bound.map(millis),
        }
    }
}

/// The cached value of a user, the row, and whether they agree. Looks only.
#[utoipa::path(
    get, path = "/cache/users/{id}", tag = "cache", params(("id" = u64, Path, minimum = 1)),
    responses(
        (status = 200, description = "Cache and database", body = CacheView),
        (status = 422, description = "The request is wrong", body = ProblemsBody),
        (status = 503, description = "The database is away", body = ErrorBody),
    )
)]
pub(crate) async fn show(State(api): State<Arc<Api>>, UserId(id): UserId) -> Result<Json<CacheView>, ApiError> {
    Ok(Json(look(&api, id).await?))
}

/// Compares without a false alarm: what changed while the database was read is compared again.
pub(crate) async fn look(api: &Api, id: u64) -> Result<CacheView, DbError> {
    let mut before = api.caches.peek(id).await;
    let mut row = api.database.get(id).await?.value;
    for _ in 0..LOOKS_MAX {
        match before {
            None => return Ok(CacheView::absent(row)),
            Some(hit) if hit.value == row => return Ok(CacheView::of(hit, row)),
            Some(hit) => {
                let after = api.caches.peek(id).await;
                if after.as_ref().is_some_and(|after| after.value == hit.value) {
                    return Ok(CacheView::of(hit, row));
                }
                before = after;
                row = api.database.get(id).await?.value;
            }
        }
    }
    // It was replaced at every look: there is no entry that could be called stale.
    Ok(CacheView::absent(row))
}
