//! The last changes and switches, newest first.

use maud::{Markup, html};

use super::context::PageContext;
use super::text::{encoded, millis, short, time};
use crate::activity::{ActivityEntry, SHOWN_MAX, What};

pub(super) fn events(context: &PageContext<'_>) -> Markup {
    let latest = context.panel.live.chronicle.latest(SHOWN_MAX);
    html! {
        @if latest.is_empty() {
            p.m.pad { "Waiting for the first change. Press " b { "Write" } " at a user, or change a row from another program:" }
            pre { code { (context.panel.hint) } }
        } @else {
            (list(&latest))
        }
    }
}

/// Renders entries, newest first.
pub(super) fn list(entries: &[ActivityEntry]) -> Markup {
    html! { ol.ev { @for happened in entries { (line(happened)) } } }
}

/// Names a write for the dialog that shows its hops.
fn write_of(position: &str, keys: &[String]) -> String {
    format!("position={}&key={}", encoded(position), encoded(keys.first().map_or("", String::as_str)))
}

fn line(happened: &ActivityEntry) -> Markup {
    html! {
        li data-key=(happened.number) {
            span.mono.m { (time(happened.at)) }
            @match &happened.what {
                What::Mode { mode, version } => {
                    span.b { "mode" }
                    span { "switched to " (mode.as_str().to_uppercase()) }
                    span.m { "v" (version) }
                }
                What::Fault { words, on } => {
                    span.b { "fault" }
                    span data-switch=(words.to_lowercase()) data-on=(on) { (words) " " @if *on { "on" } @else { "off" } }
                    span.m {}
                }
                What::Pressed(words) => {
                    span.b data-button { "button" }
                    span.cut { (words) }
                    span.m {}
                }
                What::Change { op, keys, position, lag_ms, applied } => {
                    span.m { (op) }
                    button.way type="button" data-write=(write_of(position, keys)) title=(format!("{} at {position}", keys.join(", "))) {
                        (keys.first().map_or("–", String::as_str)) " " span.m.mono { (short(position)) } span.vh { ": the way of this write" }
                    }
                    span.m {
                        @match (applied, lag_ms) {
                            (false, _) => "not applied",
                            (true, Some(lag)) => (millis(*lag)),
                            (true, None) => "applied",
                        }
                    }
                }
            }
        }
    }
}
