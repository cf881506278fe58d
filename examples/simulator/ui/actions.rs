//! What the buttons do. Each ends with a way back to the page, so that reloading it does nothing twice.

use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::response::Redirect;
use serde::Deserialize;

use super::Panel;
use crate::domain::{DbError, Mode, UserInput};

/// What happened, for the page that follows; the words are the page's.
fn back(note: &str) -> Redirect {
    match note {
        "" => Redirect::to("/"),
        note => Redirect::to(&format!("/?note={note}")),
    }
}

fn note_of(error: &DbError) -> &'static str {
    match error {
        DbError::EmailTaken => "taken",
        DbError::VersionMismatch => "switched",
        DbError::Unavailable(_) | DbError::Failed(_) => "failed",
    }
}

#[derive(Deserialize)]
pub(super) struct ModeForm {
    mode: Mode,
    version: u64,
}

/// Switches the mode, unless somebody else did since the page was made.
pub(super) async fn mode(State(panel): State<Arc<Panel>>, Form(form): Form<ModeForm>) -> Redirect {
    match panel.api.modes.set(form.mode, Some(&[form.version])).await {
        Ok(row) => {
            panel.api.pipeline.followed(row.mode).await;
            back("")
        }
        Err(error) => back(note_of(&error)),
    }
}

fn is_valid(input: &UserInput) -> bool {
    [&input.name, &input.email].iter().all(|text| (1..=255).contains(&text.chars().count()))
}

pub(super) async fn create(State(panel): State<Arc<Panel>>, Form(input): Form<UserInput>) -> Redirect {
    if !is_valid(&input) {
        return back("invalid");
    }
    match panel.api.database.create(&input).await {
        Ok(_) => back(""),
        Err(error) => back(note_of(&error)),
    }
}

/// Reads through the cache, as `GET /users/{id}` does.
pub(super) async fn read(State(panel): State<Arc<Panel>>, Path(id): Path<u64>) -> Redirect {
    match panel.api.caches.users.get(&id).await {
        Ok(_) => back(""),
        Err(_) => back("failed"),
    }
}

/// Writes to the database and nowhere else, as `PUT /users/{id}` does.
pub(super) async fn write(
    State(panel): State<Arc<Panel>>,
    Path(id): Path<u64>,
    Form(input): Form<UserInput>,
) -> Redirect {
    if !is_valid(&input) {
        return back("invalid");
    }
    match panel.api.database.update(id, &input).await {
        Ok(Some(_)) => back(""),
        Ok(None) => back("gone"),
        Err(error) => back(note_of(&error)),
    }
}

pub(super) async fn delete(State(panel): State<Arc<Panel>>, Path(id): Path<u64>) -> Redirect {
    match panel.api.database.delete(id).await {
        Ok(Some(_)) => back(""),
        Ok(None) => back("gone"),
        Err(error) => back(note_of(&error)),
    }
}
