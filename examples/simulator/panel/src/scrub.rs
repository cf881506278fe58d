//! The page of a moment of the past, for the slider.

use std::sync::Arc;

use axum::extract::{Query, State};
use cachefront::Timestamp;
use maud::Markup;
use serde::Deserialize;

use super::activity::{ActivityEntry, SHOWN_MAX};
use super::panel::Panel;
use super::view::past;

/// Which moment, in ms since 1970.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    at: String,
}

/// What was known at a moment of the past, and the events until then.
pub(super) fn show(State(panel): State<Arc<Panel>>, Query(asked): Query<Asked>) -> std::future::Ready<Markup> {
    let millis: u64 = asked.at.trim().parse().unwrap_or_default();
    let at = Timestamp::from_micros(millis.saturating_mul(1_000));
    let record = panel.live.past.at(at);
    let events: Vec<ActivityEntry> = panel.live.chronicle.before(at, SHOWN_MAX);
    std::future::ready(past::moment(at, record.as_ref(), &events))
}
