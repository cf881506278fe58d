//! `/users`: reads through the caches, writes to the database and nowhere else.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cachefront::Position;

use super::Api;
use super::error::{ApiError, ErrorBody, ProblemsBody};
use super::request::{Freshness, JsonBody, Parameters, TOKEN_HEADER, UserId};
use crate::domain::{User, UserInput};

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 1_000;

/// Users straight from the database, or the one with an e-mail address through the cache.
#[utoipa::path(
    get, path = "/users", tag = "users",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000. Default: 50", minimum = 1, maximum = 1000),
        ("after" = Option<u64>, Query, description = "Only ids above this one. Default: 0", minimum = 0),
        ("email" = Option<String>, Query, description = "Only the user with this address, through the cache", min_length = 1, max_length = 255),
        ("max_staleness_ms" = Option<u64>, Query, description = "With email: the value was current within this time", minimum = 0),
        ("Cachefront-Token" = Option<String>, Header, description = "With email: the value contains these commits"),
    ),
    responses(
        (status = 200, description = "The users, by id", body = Vec<User>),
        (status = 422, description = "The request is wrong", body = ProblemsBody),
        (status = 503, description = "The database is away", body = ErrorBody),
    )
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
    freshness: Freshness,
) -> Result<Json<Vec<User>>, ApiError> {
    let limit = parameters.number("limit", 1..=LIMIT_MAX).map_err(ApiError::problem)?.unwrap_or(LIMIT_DEFAULT);
    let after = parameters.number("after", 0..=u64::MAX).map_err(ApiError::problem)?.unwrap_or(0);
    let Some(email) = parameters.short_text("email").map_err(ApiError::problem)? else {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        return Ok(Json(api.database.list(after, limit).await?));
    };
    let mut read = api.caches.by_email.get(email);
    if let Some(token) = &freshness.at_least {
        read = read.at_least(token);
    }
    if let Some(bound) = freshness.max_staleness {
        read = read.max_staleness(bound);
    }
    Ok(Json(read.await?.into_iter().collect()))
}

/// One user, through the cache.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users",
    params(
        ("id" = u64, Path, minimum = 1),
        ("max_staleness_ms" = Option<u64>, Query, description = "The value was current within this time", minimum = 0),
        ("Cachefront-Token" = Option<String>, Header, description = "The value contains these commits"),
    ),
    responses(
        (status = 200, description = "The user", body = User),
        (status = 404, description = "There is no such user", body = ErrorBody),
        (status = 422, description = "The request is wrong", body = ProblemsBody),
        (status = 503, description = "The database is away", body = ErrorBody),
    )
)]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    UserId(id): UserId,
    freshness: Freshness,
) -> Result<Json<User>, ApiError> {
    let mut read = api.caches.users.get(&id);
    if let Some(token) = &freshness.at_least {
        read = read.at_least(token);
    }
    if let Some(bound) = freshness.max_staleness {
        read = read.max_staleness(bound);
    }
    read.await?.map(Json).ok_or_else(ApiError::no_such_user)
}

/// Adds a user.
#[utoipa::path(
    post, path = "/users", tag = "users", request_body = UserInput,
    responses(
        (status = 201, description = "The new user", body = User,
            headers(("Location" = String), ("Cachefront-Token" = String, description = "Contains this commit"))),
        (status = 409, description = "The e-mail address is taken", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not JSON", body = ErrorBody),
        (status = 422, description = "The body is wrong", body = ProblemsBody),
        (status = 503, description = "The database is away", body = ErrorBody),
    )
)]
pub(crate) async fn create(State(api): State<Arc<Api>>, body: JsonBody) -> Result<Response, ApiError> {
    let written = api.database.create(&body.user_input()?).await?;
    let mut headers = token_header(written.token.as_ref());
    if let Ok(location) = HeaderValue::from_str(&format!("/users/{}", written.value.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Json(written.value)).into_response())
}

/// Replaces a user's name and e-mail address.
#[utoipa::path(
    put, path = "/users/{id}", tag = "users", request_body = UserInput, params(("id" = u64, Path, minimum = 1)),
    responses(
        (status = 200, description = "The user as it is now", body = User,
            headers(("Cachefront-Token" = String, description = "Contains this commit"))),
        (status = 404, description = "There is no such user", body = ErrorBody),
        (status = 409, description = "The e-mail address is taken", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not JSON", body = ErrorBody),
        (status = 422, description = "The request is wrong", body = ProblemsBody),
        (status = 503, description = "The database is away", body = ErrorBody),
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
        (status = 404, description = "There is no such user", body = ErrorBody),
        (status = 422, description = "The request is wrong", body = ProblemsBody),
        (status = 503, description = "The database is away", body = ErrorBody),
    )
)]
pub(crate) async fn delete(State(api): State<Arc<Api>>, UserId(id): UserId) -> Result<Response, ApiError> {
    let written = api.database.delete(id).await?.ok_or_else(ApiError::no_such_user)?;
    Ok((StatusCode::NO_CONTENT, token_header(written.token.as_ref())).into_response())
}

/// The header of a write's answer; none if the database does not number its commits.
fn token_header(token: Option<&Position>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(value) = token.and_then(|token| HeaderValue::from_str(&token.to_string()).ok()) {
        headers.insert(HeaderName::from_static(TOKEN_HEADER), value);
    }
    headers
}
