//! The TTL sweep, from the panel: its choices, and its start.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::Response;
use loadgen::load::StartError;
use loadgen::sweep::SweepPlan;
use loadgen::sweep::plan::{EACH_DEFAULT, SEEDS_DEFAULT, parse_ttls};
use serde::Deserialize;

use super::load::started;
use super::login::CurrentUser;
use super::outcome::noted;
use super::panel::Panel;
use super::reply::refused;
use super::runs::Chosen;

/// The lifetimes that the form shows first.
const TTLS: &str = "1s,5s,30s,300s";

/// The choices of the form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ChosenSweep {
    pub(super) preset: String,
    pub(super) rate: f64,
    pub(super) seconds: u64,
    /// Separated by commas.
    pub(super) ttls: String,
    pub(super) seeds: u64,
}

impl Default for ChosenSweep {
    fn default() -> Self {
        let (preset, seconds) = ("steady".to_owned(), EACH_DEFAULT.as_secs());
        Self { preset, rate: 200.0, seconds, ttls: TTLS.to_owned(), seeds: SEEDS_DEFAULT }
    }
}

impl ChosenSweep {
    /// Returns the plan of the chosen sweep.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    fn plan(&self) -> Result<SweepPlan, String> {
        let Self { preset, rate, seconds, ttls, seeds } = self.clone();
        let load = Chosen { preset, rate, seconds }.plan()?;
        Ok(SweepPlan { load, ttls: parse_ttls(&ttls)?, seeds })
    }
}

pub(super) async fn start(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(chosen): Form<ChosenSweep>,
) -> Response {
    let plan = match chosen.plan() {
        Ok(plan) => plan,
        Err(why) => return refused(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    if panel.tour.view().running {
        return refused(
            StatusCode::CONFLICT,
            "A demo is running, and it switches the mode itself: wait for its end, or stop it.",
        );
    }
    let length = plan.length();
    let outcome: Result<(), StartError> = panel.runs.sweep.start(plan);
    if outcome.is_ok() {
        panel.runs.choose_sweep(&chosen);
    }
    let what = format!("sweep {} at {}/s, TTLs {}", chosen.preset, chosen.rate, chosen.ttls);
    let words = format!("The sweep takes {:.0?} and a few seconds for each switch of the mode.", whole(length));
    started(&panel, noted(&panel, &reader, what, outcome).await, &words)
}

fn whole(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs())
}
