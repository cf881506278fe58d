//! The way of one write, for the dialog that its event opens.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use maud::Markup;
use serde::Deserialize;

use super::panel::Panel;
use super::view::write;

/// Which write: its transaction, and its first key.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    position: String,
    #[serde(default)]
    key: String,
}

pub(super) fn show(
    State(panel): State<Arc<Panel>>,
    Query(Asked { position, key }): Query<Asked>,
) -> Ready<(StatusCode, Markup)> {
    ready(match panel.api.writes.find(&position, &key) {
        Some(found) => (StatusCode::OK, write::write(&found)),
        None => (StatusCode::NOT_FOUND, write::forgotten()),
    })
}
