//! What the buttons do. Each answers one line for people to read; what changed is pushed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Panel;
use super::tour::{self, Scenario};
use super::users;
use crate::domain::{DbError, Mode, UserInput};

/// The answer to every button.
#[derive(Debug, Serialize)]
struct Said {
    ok: bool,
    message: String,
}

fn done(panel: &Panel, message: impl Into<String>) -> Response {
    panel.live.nudge();
    Json(Said { ok: true, message: message.into() }).into_response()
}

fn refused(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(Said { ok: false, message: message.into() })).into_response()
}

fn failed(error: &DbError) -> Response {
    match error {
        DbError::EmailTaken => refused(StatusCode::CONFLICT, "This e-mail address is taken: choose another one."),
        DbError::VersionMismatch => refused(StatusCode::CONFLICT, "The mode was changed by somebody else."),
        DbError::Unavailable(_) | DbError::Failed(_) => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "The database does not answer: nothing was changed. Try again.")
        }
    }
}

fn gone(id: u64) -> Response {
    refused(StatusCode::NOT_FOUND, format!("There is no user {id} any more."))
}

#[derive(Deserialize)]
pub(super) struct ModeForm {
    mode: Mode,
    version: u64,
}

/// Switches the mode, unless somebody else did since the page was made.
pub(super) async fn mode(State(panel): State<Arc<Panel>>, Form(form): Form<ModeForm>) -> Response {
    match panel.api.modes.set(form.mode, Some(&[form.version])).await {
        Ok(row) => {
            panel.api.pipeline.followed(row.mode).await;
            done(&panel, format!("Mode {} is in force (v{}).", words_of(row.mode), row.version))
        }
        Err(DbError::VersionMismatch) => {
            let now = panel.api.modes.refresh().await.unwrap_or_else(|_| panel.api.modes.current());
            let message = format!(
                "Somebody else changed the mode in the meantime: it is {}, now v{}. Nothing was switched.",
                words_of(now.mode),
                now.version
            );
            panel.live.nudge();
            refused(StatusCode::CONFLICT, message)
        }
        Err(error) => failed(&error),
    }
}

fn words_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Ttl => "TTL",
        Mode::Cdc => "CDC",
    }
}

fn check(input: &UserInput) -> Result<(), Response> {
    match [&input.name, &input.email].iter().all(|text| (1..=255).contains(&text.chars().count())) {
        true => Ok(()),
        false => Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "Name and e-mail address take 1 to 255 characters.")),
    }
}

pub(super) async fn create(State(panel): State<Arc<Panel>>, Form(input): Form<UserInput>) -> Response {
    if let Err(refused) = check(&input) {
        return refused;
    }
    match panel.api.database.create(&input).await {
        Ok(written) => done(&panel, format!("User {} was created.", written.value.id)),
        Err(error) => failed(&error),
    }
}

/// Reads through the cache, as `GET /users/{id}` does.
pub(super) async fn read(State(panel): State<Arc<Panel>>, Path(id): Path<u64>) -> Response {
    match panel.api.caches.users.get(&id).detailed().await {
        Ok(hit) => {
            if hit.value.is_none() {
                panel.shelf.miss(id);
            }
            let value = hit.value.map_or_else(|| "no such user".to_owned(), |user| user.name);
            done(&panel, format!("User {id}: {value} (from {})", words_of_tier(hit.tier.as_str())))
        }
        Err(_) => refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "The read had to ask the database, which does not answer. Try again.",
        ),
    }
}

fn words_of_tier(tier: &str) -> &str {
    match tier {
        "local" => "L1, this process",
        "shared" => "the shared store",
        tier => tier,
    }
}

/// Reads the first users, so that their rows are cached.
pub(super) async fn read_all(State(panel): State<Arc<Panel>>) -> Response {
    let Ok(listed) = panel.api.database.list(0, users::SURVEY_MAX).await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "The database does not answer. Try again.");
    };
    let reads = listed.iter().map(|user| panel.api.caches.users.get(&user.id).into_future());
    let read = futures_util::future::join_all(reads).await.into_iter().filter(Result::is_ok).count();
    done(&panel, format!("{read} users were read through the cache."))
}

/// Writes to the database and nowhere else, as `PUT /users/{id}` does.
pub(super) async fn write(
    State(panel): State<Arc<Panel>>,
    Path(id): Path<u64>,
    Form(input): Form<UserInput>,
) -> Response {
    if let Err(refused) = check(&input) {
        return refused;
    }
    match panel.api.database.update(id, &input).await {
        Ok(Some(_)) => done(&panel, format!("User {id} was changed in the database.")),
        Ok(None) => gone(id),
        Err(error) => failed(&error),
    }
}

pub(super) async fn delete(State(panel): State<Arc<Panel>>, Path(id): Path<u64>) -> Response {
    match panel.api.database.delete(id).await {
        Ok(Some(_)) => {
            panel.shelf.miss(id);
            done(&panel, format!("User {id} was deleted from the database."))
        }
        Ok(None) => gone(id),
        Err(error) => failed(&error),
    }
}

/// Starts a demo, or stops the one under way.
pub(super) fn demo(State(panel): State<Arc<Panel>>, Path(scenario): Path<Scenario>) -> std::future::Ready<Response> {
    std::future::ready(match tour::start(&panel, scenario) {
        true => done(&panel, ""),
        false => refused(StatusCode::CONFLICT, "A demo is under way: wait for its end, or stop it."),
    })
}
