//! A moment of the past, and the slider that chooses it.

use cachefront::Timestamp;
use maud::{Markup, html};

use super::icon::icon;
use super::text::time;
use super::{events, top};
use crate::activity::{ActivityEntry, KEPT_FOR};
use crate::past::PastMoment;

/// Renders the slider of the live page.
pub(super) fn slider() -> Markup {
    html! {
        section.card.past-bar #past-bar aria-label="Time" {
            label for="past" { b { "Time" } }
            input #past type="range" min=(-(KEPT_FOR.as_secs() as i64)) max="0" step="1" value="0" aria-valuetext="now" autocomplete="off";
            output #past-time for="past" { "now" }
            button.btn #past-end type="button" hidden { (icon("play")) "Back to now" }
        }
        div #past-view hidden {}
    }
}

/// Renders what was known at a moment, and the events until then.
pub(crate) fn moment(at: Timestamp, record: Option<&PastMoment>, entries: &[ActivityEntry]) -> Markup {
    html! {
        div.past-moment data-past=(at.as_millis()) data-recorded[record.is_some()] {
            p.past-mark { (icon("unk")) b { "The past, as of " (time(at).split('.').next().unwrap_or_default().to_owned()) " UTC" } }
            @match record {
                Some(record) => {
                    (top::verdict_of(&record.verdict))
                    p { "Mode " b { (record.mode.as_str().to_uppercase()) } ", "
                        @if record.faults.is_empty() { "no fault was on." } @else { "faults that were on: " b { (record.faults.join(", ")) } "." } }
                }
                None => div.empty data-empty="unrecorded" {
                    p { b { "Nothing was recorded at this moment." } }
                    p.m { "The panel records while it is open somewhere, and keeps ten minutes. A restart keeps only the charts." }
                },
            }
            section.card.events aria-labelledby="h-past-events" {
                div.hd { h2 #h-past-events { "Events until " (time(at).split('.').next().unwrap_or_default().to_owned()) } span.m.s { "times in UTC" } }
                @if entries.is_empty() { p.m.pad { "None is kept of before this moment." } } @else { (events::list(entries)) }
            }
        }
    }
}
