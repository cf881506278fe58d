//! `/users`: reads go through the caches, writes go only to the database.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cachefront::{Cache, ErrorKind, Position};
use serde::Deserialize;
use simulator_model::caches::EmailKey;
use simulator_model::domain::{Status, User};
use utoipa::ToSchema;

use super::cached;
use super::error::{ApiError, Problem};
use super::request::{Freshness, JsonBody, Parameters, TOKEN_HEADER, UserId};
use super::responses::{ChangingChecked, Checked, EmailTaken, IdOrEmailTaken, NoIdLeft, NoSuchUser, WithBody};
use super::state::Api;

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 1_000;

/// Shortest and longest lifetime that a read can ask for.
const TTL_MS_MIN: u64 = 10;
const TTL_MS_MAX: u64 = 3_600_000;

/// What a client says about a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserInput)]
#[expect(dead_code, reason = "the fields are checked one by one; this is their description")]
pub(crate) struct UserBody {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[schema(min_length = 1, max_length = 255)]
    email: String,
    /// Without one, a new user is active, and one that is there stays as it is.
    status: Option<Status>,
}

/// What a client says about a new user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
#[expect(dead_code, reason = "as for UserBody")]
pub(crate) struct NewUserBody {
    /// Chosen by the client. Without one, the database gives the next one.
    #[schema(minimum = 1, maximum = 9007199254740991_u64)]
    id: Option<u64>,
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[schema(min_length = 1, max_length = 255)]
    email: String,
    /// Without one, a new user is active, and one that is there stays as it is.
    status: Option<Status>,
}

/// Users straight from the database, or the one with an e-mail address through the cache.
#[utoipa::path(
    get, path = "/users", tag = "users",
    params(
        ("limit" = Option<u32>, Query, description = "Maximum number of results, 1 to 1000. Default: 50", minimum = 1, maximum = 1000),
        ("after" = Option<u64>, Query, description = "Only ids above this one. Default: 0", minimum = 0),
        ("email" = Option<String>, Query, description = "Only the user with this address, through the cache", min_length = 1, max_length = 255),
        ("max_staleness_ms" = Option<u64>, Query, description = "With email: the value was current within this time", minimum = 0),
        ("Cachefront-Token" = Option<String>, Header, description = "With email: the value contains these commits. As for one user", example = json!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")),
    ),
    responses(
        (status = 200, description = "The users, by id. With email, the headers of a cached read are there", body = Vec<User>),
        Checked,
    )
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
    freshness: Freshness,
) -> Result<Response, ApiError> {
    let limit = parameters.number("limit", 1..=LIMIT_MAX).map_err(ApiError::problem)?.unwrap_or(LIMIT_DEFAULT);
    let after = parameters.number("after", 0..=u64::MAX).map_err(ApiError::problem)?.unwrap_or(0);
    let Some(email) = parameters.short_text("email").map_err(ApiError::problem)? else {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        return Ok(Json(api.database.list(after, limit).await?).into_response());
    };
    let started = Instant::now();
    let key = EmailKey::new(email);
    let hit = match freshness.asked_of(api.caches.by_email.get(&key)).detailed().await {
        // The token names commits that no server here has, or a replica was read that lacks the proof: read the primary itself.
        Err(error) if error.kind() == ErrorKind::Unproven => api.caches.user_of_primary_by_email(&key).await?,
        hit => hit?,
    };
    let headers = cached::headers(&hit, freshness.at_least.as_ref(), started);
    Ok((headers, Json(hit.value.into_iter().collect::<Vec<_>>())).into_response())
}

/// One user, through the cache.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users",
    params(
        ("id" = u64, Path, minimum = 1),
        ("max_staleness_ms" = Option<u64>, Query, description = "The value was current within this time", minimum = 0),
        ("revalidate" = Option<bool>, Query, description = "Through a second cache, by age alone in both modes: a value that has expired is served for as long again while it is loaded in the background. Default: false"),
        ("ttl_ms" = Option<u64>, Query, description = "Through a cache whose entries have this TTL, by age alone in both modes; not with revalidate. A process has the 32 that were asked for last", minimum = 10, maximum = 3600000),
        ("Cachefront-Token" = Option<String>, Header, description = "The value contains these commits: what a write answered, or any `@@GLOBAL.gtid_executed`. A header that is sent several times is one set; 16 KiB in all; in a range the first number is not above the second", example = json!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")),
    ),
    responses(
        (status = 200, description = "The user. A 404 has the same headers", body = User, headers(
            ("x-cache" = String, description = "`hit`: from a tier; `miss`: loaded and kept; `bypass`: loaded, and nothing is kept; `stale`: a load failed or was slow, and the last value of this process is served"),
            ("x-cache-tier" = String, description = "`local`: this process; `shared`: the store; `database`"),
            ("x-cache-age" = u64, description = "How long ago the value's load began, in ms"),
            ("x-cache-token" = String, description = "With a token: `contained` if the value is proven to contain it, else `not-contained`: no server here has reached it"),
            ("x-cache-position" = String, description = "Commits that the value is proven to contain"),
            ("Cachefront-Token" = String, description = "The same, as the token for reads that must not be older"),
            ("Server-Timing" = String, description = "How long the read took, and the whole request"),
        )),
        NoSuchUser, Checked,
    )
)]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    UserId(id): UserId,
    parameters: Parameters,
    freshness: Freshness,
) -> Result<Response, ApiError> {
    let cache = &chosen(&api, &parameters)?;
    let started = Instant::now();
    let read = async {
        match freshness.asked_of(cache.get(&id)).detailed().await {
            // The token names commits that no server here has, or a replica was read that lacks the proof: read the primary itself.
            Err(error) if error.kind() == ErrorKind::Unproven => api.caches.user_of_primary(id).await,
            hit => hit,
        }
    };
    let hit = api.writes.reading(id, read).await?;
    let headers = cached::headers(&hit, freshness.at_least.as_ref(), started);
    Ok(match hit.value {
        Some(user) => (headers, Json(user)).into_response(),
        None => (headers, ApiError::no_such_user()).into_response(),
    })
}

/// Returns the cache that a read is to go through.
fn chosen(api: &Api, parameters: &Parameters) -> Result<Cache<u64, User>, ApiError> {
    let revalidates = parameters.switch("revalidate").map_err(ApiError::problem)?;
    let ttl_ms = parameters.number("ttl_ms", TTL_MS_MIN..=TTL_MS_MAX).map_err(ApiError::problem)?;
    let refuse = |message: String| ApiError::problem(Problem::new(&["query", "ttl_ms"], message, "value_error"));
    match (ttl_ms, revalidates) {
        (None, false) => Ok(api.caches.users.clone()),
        (None, true) => Ok(api.caches.revalidating.clone()),
        (Some(_), true) => Err(refuse("Input should not be given together with revalidate".into())),
        (Some(ttl_ms), false) => Ok(api.caches.aged.of(ttl_ms)?),
    }
}

/// Adds a user, with an id of the client's choice if it names one.
#[utoipa::path(
    post, path = "/users", tag = "users", request_body = NewUserBody,
    responses(
        (status = 201, description = "The new user", body = User,
            headers(("Location" = String), ("Cachefront-Token" = String, description = "Contains this commit"))),
        IdOrEmailTaken, NoIdLeft, WithBody,
    )
)]
pub(crate) async fn create(State(api): State<Arc<Api>>, body: JsonBody) -> Result<Response, ApiError> {
    let (id, input) = body.new_user()?;
    let written = api.database.create(id, &input).await?;
    let mut headers = token_header(written.token.as_ref());
    if let Ok(location) = HeaderValue::from_str(&format!("/users/{}", written.value.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Json(written.value)).into_response())
}

/// Replaces a user's name and e-mail address.
#[utoipa::path(
    put, path = "/users/{id}", tag = "users", request_body = UserBody, params(("id" = u64, Path, minimum = 1)),
    responses(
        (status = 200, description = "The user as it is now", body = User,
            headers(("Cachefront-Token" = String, description = "Contains this commit"))),
        NoSuchUser, EmailTaken, WithBody,
    )
)]
pub(crate) async fn update(
    State(api): State<Arc<Api>>,
    UserId(id): UserId,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let input = body.user_input()?;
    let written = api.database.update(id, &input).await?.ok_or_else(ApiError::no_such_user)?;
    Ok((token_header(written.token.as_ref()), Json(written.value)).into_response())
}

/// Removes a user.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users", params(("id" = u64, Path, minimum = 1)),
    responses(
        (status = 204, description = "The user is gone",
            headers(("Cachefront-Token" = String, description = "Contains this commit"))),
        NoSuchUser, ChangingChecked,
    )
)]
pub(crate) async fn delete(State(api): State<Arc<Api>>, UserId(id): UserId) -> Result<Response, ApiError> {
    let written = api.database.delete(id).await?.ok_or_else(ApiError::no_such_user)?;
    Ok((StatusCode::NO_CONTENT, token_header(written.token.as_ref())).into_response())
}

/// Returns the token header of a write's response, empty if the database does not number its commits.
fn token_header(token: Option<&Position>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(value) = token.and_then(|token| HeaderValue::from_str(&token.to_string()).ok()) {
        headers.insert(HeaderName::from_static(TOKEN_HEADER), value);
    }
    headers
}
