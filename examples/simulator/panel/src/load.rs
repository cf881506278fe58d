//! Load and the experiment, from the panel: start, stop, and the reports for download.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Form, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use loadgen::experiment::ExperimentControl;
use loadgen::load::preset::Preset;
use loadgen::load::threshold::Threshold;
use loadgen::load::{LoadControl, LoadPlan, PRESETS, StartError, Target};
use serde::Deserialize;
use simulator_cli::SecretString;
use simulator_model::settings::Settings;

use super::Panel;
use super::actions::{done, noted, refused};
use super::login::CurrentUser;
use super::results::Results;

/// The runs that the panel starts.
#[derive(Debug)]
pub(super) struct Runs {
    pub(super) load: LoadControl,
    pub(super) experiment: ExperimentControl,
    pub(super) results: Results,
    /// The last choices for load and comparison, made in any tab.
    chosen: Mutex<[Chosen; 2]>,
    /// The goals of the running load, or of the last one.
    goals: Mutex<Vec<Threshold>>,
}

impl Runs {
    pub(super) fn new(settings: &Settings) -> Self {
        let token: Option<SecretString> = settings.client_token().cloned();
        let load = LoadControl::new(Target { url: settings.api_url.clone(), token });
        Self {
            experiment: ExperimentControl::new(&load),
            load,
            results: Results::default(),
            chosen: Mutex::new([Chosen::of(&PRESETS[0], false), Chosen::of(&PRESETS[0], true)]),
            goals: Mutex::default(),
        }
    }

    /// Returns what the form of the load shows.
    pub(super) fn chosen_load(&self) -> Chosen {
        self.chosen(0)
    }

    /// Returns what the form of the comparison shows.
    pub(super) fn chosen_experiment(&self) -> Chosen {
        self.chosen(1)
    }

    fn chosen(&self, at: usize) -> Chosen {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)[at].clone()
    }

    fn choose(&self, at: usize, chosen: &Chosen) {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)[at] = chosen.clone();
    }

    /// Returns the goals of the running load, or of the last one.
    pub(super) fn goals(&self) -> Vec<Threshold> {
        self.goals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns true during a comparison, which switches the mode itself.
    pub(super) fn is_comparing(&self) -> bool {
        self.experiment.watch().borrow().phase.is_active()
    }
}

/// The choices of a form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Chosen {
    pub(super) preset: String,
    pub(super) rate: f64,
    pub(super) seconds: u64,
}

impl Chosen {
    /// A preset with its own rate and length.
    fn of(preset: &Preset, each: bool) -> Self {
        Self { preset: preset.name.to_owned(), rate: preset.rate, seconds: Self::seconds_of(preset, each) }
    }

    /// Returns a preset's own length; each side of a comparison takes half of it.
    pub(super) fn seconds_of(preset: &Preset, each: bool) -> u64 {
        preset.length.as_secs() / if each { 2 } else { 1 }
    }

    /// Returns the plan of the chosen load.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    fn plan(&self) -> Result<LoadPlan, String> {
        let preset = PRESETS.iter().find(|preset| preset.name == self.preset);
        let preset = preset.ok_or_else(|| format!("There is no preset {}.", self.preset))?;
        if !(1.0..=20_000.0).contains(&self.rate) || !(1..=3_600).contains(&self.seconds) {
            return Err("A rate is 1 to 20,000 requests a second, a length 1 to 3,600 seconds.".into());
        }
        Ok(preset.plan(Some(self.rate), Some(Duration::from_secs(self.seconds))))
    }
}

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
        *panel.runs.goals.lock().unwrap_or_else(PoisonError::into_inner) = thresholds;
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
    if panel.tour.view().running {
        return refused(
            StatusCode::CONFLICT,
            "A demo is under way, and it switches the mode itself: wait for its end, or stop it.",
        );
    }
    let outcome = panel.runs.experiment.start(plan);
    if outcome.is_ok() {
        panel.runs.choose(1, &chosen);
    }
    let what = format!("experiment {} at {}/s", chosen.preset, chosen.rate);
    started(&panel, noted(&panel, &reader, what, outcome).await, "Both modes are measured, one after the other.")
}

fn started(panel: &Panel, outcome: Result<(), StartError>, words: &str) -> Response {
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
    match what.as_str() {
        "load" => panel.runs.load.stop(),
        "experiment" => panel.runs.experiment.stop(),
        _ => return refused(StatusCode::NOT_FOUND, "There is no such run."),
    }
    let _ = noted(&panel, &reader, format!("{what} stopped"), Ok::<_, StartError>(())).await;
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
