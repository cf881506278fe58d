//! Everything that the panel knows, as one JSON file: for a report, or to look at it elsewhere. For the admin, as the audit list is.

mod document;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use simulator_model::credentials::Role;

use self::document::Document;
use super::kept_runs;
use super::login::CurrentUser;
use super::outcome::noted;
use super::panel::Panel;
use super::reply::refused;

/// Maximum size of the file. Beyond it the oldest events are left out, and the file says how many.
const BYTES_MAX: usize = 4 << 20;

/// Returns the file for download.
pub(super) async fn file(State(panel): State<Arc<Panel>>, CurrentUser(reader): CurrentUser) -> Response {
    if !reader.may(Role::Admin) {
        let _ = noted(&panel, &reader, "export".into(), Err::<(), _>("refused: needs the admin role")).await;
        return refused(StatusCode::FORBIDDEN, "Only the admin exports everything: log in as admin.");
    }
    let text = Document::of(&panel, &kept_runs::listing(&panel).await).within(BYTES_MAX);
    let outcome = text.ok_or("there is more than fits into the file");
    let Ok(text) = noted(&panel, &reader, "export".into(), outcome).await else {
        return refused(StatusCode::INSUFFICIENT_STORAGE, "There is more than fits into the file.");
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"cachefront-simulator.json\""),
    ];
    (headers, text).into_response()
}
