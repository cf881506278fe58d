//! `/mode` and `/pipeline`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use simulator_model::domain::{Mode, ModeRow};
use simulator_model::pipeline::PipelineView;
use utoipa::ToSchema;

use super::caller::Caller;
use super::error::{ApiError, ErrorBody};
use super::request::JsonBody;
use super::responses::{Any, WithBody};
use super::state::Api;

/// The mode that a client wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are checked one by one; this is their description")]
pub(crate) struct ModeInput {
    mode: Mode,
}

/// How entries are kept right at the moment.
#[utoipa::path(
    get, path = "/mode", tag = "control",
    responses((status = 200, description = "The mode in force", body = ModeRow, headers(("ETag" = String))), Any)
)]
pub(crate) async fn mode(State(api): State<Arc<Api>>) -> Response {
    // If the database is unavailable, the mode in force in this process is still known.
    answer(api.modes.look().await)
}

/// Switches the mode: here for every read that starts after the answer, elsewhere within a second. The answer waits for
/// a running consumer to follow.
#[utoipa::path(
    put, path = "/mode", tag = "control", request_body = ModeInput,
    params(("If-Match" = Option<String>, Header, description = "Only if the mode's ETag is one of these")),
    responses(
        (status = 200, description = "The mode in force", body = ModeRow, headers(("ETag" = String))),
        (status = 412, description = "The mode has another version", body = ErrorBody),
        WithBody,
    )
)]
pub(crate) async fn set_mode(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let mode = body.mode()?;
    let expected = expected_versions(&headers);
    let outcome = api.modes.set(mode, expected.as_deref()).await;
    caller.audit(&api, &format!("mode {}", mode.as_str()), &outcome).await;
    let row = outcome?;
    api.pipeline.followed(row.mode).await;
    Ok(answer(row))
}

/// The modes that were in force, the newest first: at most 500.
#[utoipa::path(
    get, path = "/modes/history", tag = "control",
    responses((status = 200, description = "The modes, the newest first", body = Vec<ModeRow>), Any)
)]
pub(crate) async fn history(State(api): State<Arc<Api>>) -> Result<Json<Vec<ModeRow>>, ApiError> {
    Ok(Json(api.database.mode_history().await?))
}

/// How the change capture is doing.
#[utoipa::path(
    get, path = "/pipeline", tag = "control",
    responses((status = 200, description = "The change capture", body = PipelineView), Any)
)]
pub(crate) async fn pipeline(State(api): State<Arc<Api>>) -> Json<PipelineView> {
    Json(api.pipeline.view().await)
}

fn answer(row: ModeRow) -> Response {
    let mut response = Json(&row).into_response();
    if let Ok(tag) = HeaderValue::from_str(&etag(row.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Returns the versions that `If-Match` names, or `None` if any version matches: no header, or a lone `*`. A tag that
/// is not exactly in the form of [`etag`], such as a weak one, names no version.
fn expected_versions(headers: &HeaderMap) -> Option<Vec<u64>> {
    let values: Vec<&str> =
        headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default().trim()).collect();
    match values.as_slice() {
        [] | ["*"] => None,
        values => {
            Some(values.iter().flat_map(|value| value.split(',')).filter_map(|tag| version_of(tag.trim())).collect())
        }
    }
}

/// Parses the version of an ETag.
fn version_of(tag: &str) -> Option<u64> {
    let version = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
    (etag(version) == tag).then_some(version)
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(value: &str) -> Option<Vec<u64>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, value.parse().expect("a header"));
        expected_versions(&headers)
    }

    #[test]
    fn if_match_names_versions_and_a_star_names_all() {
        assert_eq!(expected_versions(&HeaderMap::new()), None);
        assert_eq!(expected("*"), None);
        assert_eq!(expected("\"3\", \"4\""), Some(vec![3, 4]));
        assert_eq!(expected("W/\"3\", 3, \"x\""), Some(vec![]));
        assert_eq!(expected("\"+1\", \"01\", \" 1\", \"\""), Some(vec![]));
        assert_eq!(expected("\"99\", *"), Some(vec![99]));
        let mut twice = HeaderMap::new();
        twice.append(header::IF_MATCH, "*".parse().expect("a header"));
        twice.append(header::IF_MATCH, "\"7\"".parse().expect("a header"));
        assert_eq!(expected_versions(&twice), Some(vec![7]));
    }
}
