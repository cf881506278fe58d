//! The pages of the kept runs: the list, one run, and two measurements side by side.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use simulator_access::Session;

use super::archive::{Listing, Place};
use super::login::CurrentUser;
use super::outcome::{done, noted_of};
use super::pages::{runs_page, without_run};
use super::panel::Panel;
use super::reply::refused;
use super::view::{compare, kept};

/// The two measurements to compare, `id.number` each.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    a: String,
    #[serde(default)]
    b: String,
}

/// Returns everything that is kept, read on a thread that may block.
pub(super) async fn listing(panel: &Arc<Panel>) -> Listing {
    let panel = Arc::clone(panel);
    tokio::task::spawn_blocking(move || panel.archive.list()).await.unwrap_or_default()
}

/// The list, and the sweep.
pub(super) async fn index(State(panel): State<Arc<Panel>>, CurrentUser(reader): CurrentUser) -> Response {
    let listing = listing(&panel).await;
    runs_page(&panel, &reader, |context| kept::index(context, &listing)).await.into_response()
}

/// One run.
pub(super) async fn run(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(id): Path<String>,
) -> Response {
    let listing = listing(&panel).await;
    match listing.find(&id) {
        Some(run) => runs_page(&panel, &reader, |context| kept::one(context, run)).await.into_response(),
        None => missing(&panel, &reader, "This run is not kept.").await,
    }
}

/// Two measurements side by side.
pub(super) async fn comparison(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Query(asked): Query<Asked>,
) -> Response {
    let listing = listing(&panel).await;
    let find = |text: &str| {
        let place = Place::parse(text)?;
        let run = listing.find(&place.id)?;
        Some((run, run.record.measurements.get(place.number)?))
    };
    match (find(&asked.a), find(&asked.b)) {
        (Some(first), Some(second)) => {
            runs_page(&panel, &reader, |_| compare::compare(first, second)).await.into_response()
        }
        _ => missing(&panel, &reader, "One of the two measurements is not kept, or none was chosen.").await,
    }
}

async fn missing(panel: &Panel, reader: &Session, why: &str) -> Response {
    let page = without_run(panel, reader, kept::missing(why)).await;
    (StatusCode::NOT_FOUND, page).into_response()
}

/// Returns a run as a file.
pub(super) async fn file(State(panel): State<Arc<Panel>>, Path(id): Path<String>) -> Response {
    let listing = listing(&panel).await;
    let Some(run) = listing.find(&id) else {
        return refused(StatusCode::NOT_FOUND, "This run is not kept any more.");
    };
    let text = serde_json::to_string(&*run.record).unwrap_or_default();
    let disposition = format!("attachment; filename=\"cachefront-run-{}.json\"", run.id);
    ([(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_DISPOSITION, disposition)], text)
        .into_response()
}

/// Removes a run, or a file that cannot be read.
pub(super) async fn delete(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(id): Path<String>,
) -> Response {
    let (blocking, what) = (Arc::clone(&panel), format!("run {id} deleted"));
    let outcome = tokio::task::spawn_blocking(move || blocking.archive.remove(&id)).await;
    let outcome = outcome.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    match noted_of(&panel, &reader, what, outcome.map(|was_there| was_there.then_some(()))).await {
        Ok(Some(())) => done(&panel, "The run was deleted."),
        Ok(None) => refused(StatusCode::NOT_FOUND, "This run is not kept any more."),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, format!("The run could not be deleted: {error}.")),
    }
}
