//! `/servers`: the app servers of this process, side by side.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use simulator_model::server_name::ServerName;
use simulator_model::servers::{AppServer, ServerRead, ServerView};

use super::error::ApiError;
use super::request::{Freshness, Parameters, positive};
use super::responses::{Checked, NoSuchServer};
use super::state::Api;

/// The app servers of this process (`--servers`): whether each follows the bus, and what its own memory has of a user. Looks only:
/// no fill, no lease, no touch.
#[utoipa::path(
    get, path = "/servers", tag = "servers",
    params(("user" = Option<u64>, Query, description = "Also what each server has of this user", minimum = 1)),
    responses((status = 200, description = "The servers, by name", body = Vec<ServerView>), Checked)
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Json<Vec<ServerView>>, ApiError> {
    let user = parameters.number("user", 1..=u64::MAX).map_err(ApiError::problem)?;
    Ok(Json(api.servers.look(user).await))
}

/// One user, read through the caches of one server, as `/users/{id}` reads it through those of server A.
#[utoipa::path(
    get, path = "/servers/{server}/users/{id}", tag = "servers",
    params(
        ("server" = ServerName, Path),
        ("id" = u64, Path, minimum = 1),
        ("max_staleness_ms" = Option<u64>, Query, description = "The value was current within this time", minimum = 0),
    ),
    responses((status = 200, description = "What the read returned", body = ServerRead), NoSuchServer, Checked)
)]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    OfServer { server, id }: OfServer,
    freshness: Freshness,
) -> Result<Json<ServerRead>, ApiError> {
    let server = find(&api, server)?;
    let bound = freshness.max_staleness;
    let read = server.read(id, |read| match bound {
        Some(bound) => read.max_staleness(bound),
        None => read,
    });
    Ok(Json(read.await?))
}

fn find(api: &Api, name: Option<ServerName>) -> Result<&AppServer, ApiError> {
    name.and_then(|name| api.servers.get(name)).ok_or_else(|| {
        let all: Vec<&str> = api.servers.names().map(ServerName::as_str).collect();
        let detail = format!("There is no such server: the servers here are {}; start with --servers", all.join(", "));
        ApiError::new(StatusCode::NOT_FOUND, detail)
    })
}

/// A server's name and a user's id in the path. The name is `None` if it is none of the names that a server can have.
pub(crate) struct OfServer {
    server: Option<ServerName>,
    id: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for OfServer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Ok(Path((server, id))) = Path::<(String, String)>::from_request_parts(parts, state).await else {
            return Err(ApiError::new(StatusCode::NOT_FOUND, "There is no such server"));
        };
        let id = positive(&["path", "id"], &id).map_err(ApiError::problem)?;
        Ok(Self { server: server.parse().ok(), id })
    }
}
