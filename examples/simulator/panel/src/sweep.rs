//! The start of a TTL sweep from the panel.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::load::{during_demo, started};
use super::login::CurrentUser;
use super::outcome::noted;
use super::panel::Panel;
use super::reply::refused;
use super::runs::ChosenSweep;

pub(super) async fn start(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(chosen): Form<ChosenSweep>,
) -> Response {
    let plan = match chosen.plan() {
        Ok(plan) => plan,
        Err(why) => return refused(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    if let Some(refused) = during_demo(&panel) {
        return refused;
    }
    let length = plan.length();
    let outcome = panel.runs.sweep.start(plan, panel.runs.sweep_max);
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
