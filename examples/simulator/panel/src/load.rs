//! Load and the experiment, from the panel: start, stop, and the reports for download.

use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use loadgen::load::StartError;

use super::login::CurrentUser;
use super::outcome::{done, noted, noted_of};
use super::panel::Panel;
use super::reply::refused;
use super::runs::Chosen;

pub(super) async fn start_load(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(chosen): Form<Chosen>,
) -> Response {
    let plan = match chosen.plan() {
        Ok(plan) => plan,
        Err(why) => return refused(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    let thresholds = plan.thresholds.clone();
    let outcome = panel.runs.load.start(plan);
    if outcome.is_ok() {
        panel.runs.choose(0, &chosen);
        panel.runs.set_goals(thresholds);
    }
    let what = format!("load {} at {}/s", chosen.preset, chosen.rate);
    started(&panel, noted(&panel, &reader, what, outcome).await, "Load runs.")
}

pub(super) async fn start_experiment(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(chosen): Form<Chosen>,
) -> Response {
    let plan = match chosen.plan() {
        Ok(plan) => plan,
        Err(why) => return refused(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    if let Some(refused) = during_demo(&panel) {
        return refused;
    }
    let outcome = panel.runs.experiment.start(plan);
    if outcome.is_ok() {
        panel.runs.choose(1, &chosen);
    }
    let what = format!("experiment {} at {}/s", chosen.preset, chosen.rate);
    started(&panel, noted(&panel, &reader, what, outcome).await, "Both modes are measured, one after the other.")
}

/// Returns a refusal of a run that switches the mode while a demo does.
pub(super) fn during_demo(panel: &Panel) -> Option<Response> {
    let why = "A demo is running, and it switches the mode itself: wait for its end, or stop it.";
    panel.tour.view().running.then(|| refused(StatusCode::CONFLICT, why))
}

pub(super) fn started(panel: &Panel, outcome: Result<(), StartError>, words: &str) -> Response {
    match outcome {
        Ok(()) => done(panel, words),
        Err(StartError::Busy) => refused(StatusCode::CONFLICT, StartError::Busy.to_string()),
        Err(StartError::Invalid(why)) => refused(StatusCode::UNPROCESSABLE_ENTITY, why),
    }
}

pub(super) async fn stop(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(what): Path<String>,
) -> Response {
    let was_active = match what.as_str() {
        "load" => panel.runs.load.stop(),
        "experiment" => panel.runs.experiment.stop(),
        "sweep" => panel.runs.sweep.stop(),
        _ => return refused(StatusCode::NOT_FOUND, "There is no such run."),
    };
    // It may have ended just before: that is no error, and nothing was stopped.
    let _ = noted_of(&panel, &reader, format!("{what} stopped"), Ok::<_, StartError>(was_active.then_some(()))).await;
    done(&panel, "")
}

/// Returns the report of the last experiment for download, as a page or as JSON.
pub(super) fn report(State(panel): State<Arc<Panel>>, Path(kind): Path<String>) -> std::future::Ready<Response> {
    let result = panel.runs.results.experiment();
    std::future::ready(match (result, kind.as_str()) {
        (Some(result), "html") => file("html", "text/html; charset=utf-8", result.html.clone()),
        (Some(result), "json") => file("json", "application/json", result.json.clone()),
        _ => refused(StatusCode::NOT_FOUND, "No experiment has come to a result yet: run one first."),
    })
}

fn file(extension: &str, kind: &'static str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"cachefront-ttl-against-cdc.{extension}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], text).into_response()
}
