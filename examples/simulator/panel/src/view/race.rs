//! The races: a list of scenes, and a scene in three lanes.

use maud::{Markup, html};
use simulator_race::{Frame, Lane, Progress, RaceError, ReaderState, SCENES, Scene, Side, Step, Verdict, View};

use super::icon::icon;

const PROTOCOL: &str = "https://github.com/cachefront/cachefront/blob/main/docs/protocol.md";

fn url(scene: &Scene, side: Side, step: usize) -> String {
    format!("/race/{}?side={}&step={step}", scene.path, side.as_str())
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Naive => "Delete on the event",
        Side::Cachefront => "cachefront",
    }
}

fn lane_name(lane: Lane, side: Side) -> &'static str {
    match (lane, side) {
        (Lane::Reader, _) => "Readers",
        (Lane::Writer, _) => "Writer and database",
        (Lane::Log, Side::Naive) => "Log and consumer",
        (Lane::Log, Side::Cachefront) => "Log and invalidator",
    }
}

/// Renders the list of scenes.
pub(crate) fn index() -> Markup {
    html! {
        div.races {
            h1 { "Races" }
            p {
                "A cache has a copy of a row. When the row changes, the copy has to go. The obvious way is to follow the database's \
                 log of changes, and to delete the copy when the event of a change comes. That is nearly right: a reader, a writer \
                 and the log act at the same time, and in some orders the old value is put back after the delete, and stays."
            }
            p {
                "Each race below is played step by step, first with a cache that deletes on the event, then with cachefront. \
                 Every step is performed when you press the button, on the library's own cache, store and invalidator, in a small world that \
                 belongs to your session. The database of that world is one row in memory: it does on request what MySQL does by itself."
            }
            ol {
                @for scene in &SCENES {
                    li {
                        h2 { (scene.title) }
                        p.m { (scene.question) }
                        div.row {
                            @for side in Side::ALL {
                                a.btn.lg.pri[side == Side::Naive] href=(url(scene, side, 0)) {
                                    (icon("play")) (side_name(side)) span.vh { ": " (scene.title) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Renders the page for a scene that does not exist.
pub(crate) fn unknown() -> Markup {
    html! { section.card.race { h1 { "There is no such race" } p { a href="/race" { "All races" } } } }
}

/// Renders the page for a race that could not be played.
pub(crate) fn failed(scene: &Scene, side: Side, step: usize, error: &RaceError) -> Markup {
    html! {
        section.card.race {
            h1 { (scene.title) }
            p role="alert" data-race-failed { "The race was not played: " (error) "." }
            p { a.btn.lg href=(url(scene, side, step)) { "Try again" } }
        }
    }
}

/// Renders a scene; `playing` if the rest of it is played by itself.
pub(crate) fn scene(view: &View, playing: bool) -> Markup {
    let View { scene, side, frame, .. } = view;
    let at = view.played.len();
    html! {
        section.card.race data-race=(scene.path) data-side=(side.as_str()) data-step=(at) data-steps=(scene.steps.len())
            data-outcome=(frame.verdict.as_str()) data-playing[playing] aria-labelledby="h-race" {
            div.row { h1 #h-race { (scene.title) } span.grow {} a.btn.q href="/race" { "All races" } }
            p.lead { (scene.question) }
            nav.sides aria-label="Which cache" {
                @for choice in Side::ALL {
                    a href=(url(scene, choice, if choice == *side { at } else { 0 })) aria-current=[(choice == *side).then_some("true")]
                        data-side-of=(choice.as_str()) { (side_name(choice)) }
                }
            }
            (bar(view))
            p.race-say role="status" aria-live="polite" data-say { (said(view)) }
            (now(frame))
            div.race-heads aria-hidden="true" { @for lane in Lane::ALL { span { (lane_name(lane, *side)) } } }
            ol.race-board aria-label="Steps" {
                @for (place, step) in scene.steps.iter().enumerate() { (line(view, place, step)) }
            }
            (rule(view))
        }
    }
}

/// What has just happened and why; before the first step, what there is.
fn said(view: &View) -> &'static str {
    match view.played.len().checked_sub(1).and_then(|last| view.scene.steps.get(last)) {
        Some(step) => step.text(view.side),
        None => "The row is in the database, and the cache is empty. Press Next.",
    }
}

fn bar(view: &View) -> Markup {
    let View { scene, side, .. } = view;
    let (at, steps) = (view.played.len(), view.scene.steps.len());
    html! {
        div.race-bar {
            (go("back", "Back", at.checked_sub(1).map(|step| url(scene, *side, step)), "This is the beginning", false))
            (go("next", "Next", (at < steps).then(|| url(scene, *side, at + 1)), "This was the last step", true))
            button.btn.lg type="button" data-play aria-pressed="false" { (icon("play")) span { "Play" } }
            (go("again", "Start over", (at > 0).then(|| url(scene, *side, 0)), "This is the beginning", false))
            span.m data-race-at { "step " (at) " of " (steps) }
        }
    }
}

/// A link to another step. One that leads nowhere can be reached all the same, and says why.
fn go(name: &str, words: &str, to: Option<String>, why: &str, primary: bool) -> Markup {
    html! {
        a.btn.lg.pri[primary && to.is_some()] data-go=(name) href=[&to] role=[to.is_none().then_some("link")]
            tabindex=[to.is_none().then_some("0")] aria-disabled=[to.is_none().then_some("true")] title=[to.is_none().then_some(why)] { (words) }
    }
}

/// Renders what is true now, as it was read from the objects.
fn now(frame: &Frame) -> Markup {
    let (class, words) = match frame.verdict {
        Verdict::Empty => ("absent", "no value: the next read loads"),
        Verdict::Current => ("healthy", "the value is right"),
        Verdict::Pending => ("wait", "older than the row; its event is on the way"),
        Verdict::Stale => ("stale", "stale: the old value stays until it expires"),
    };
    html! {
        dl.race-now {
            div {
                dt { "Row in the database" }
                dd.v data-row=(frame.newest) { (frame.newest) }
                @if frame.loaders_see != frame.newest { dd.warn data-loaders-see=(frame.loaders_see) { "loaders still see: " (frame.loaders_see) } }
            }
            div {
                dt { "In the cache" }
                dd.v data-cached=(frame.cached.value.as_deref().unwrap_or_default()) data-leased[frame.cached.leased] {
                    @match (&frame.cached.value, frame.cached.leased) {
                        (Some(value), _) => (value),
                        (None, true) => "a lease, no value",
                        (None, false) => "no value",
                    }
                }
                dd { span.chip.(class) { (words) } }
                @if let Some(reason) = frame.cached.reason { dd.m.s { "A read would load: " (reason) "." } }
            }
            div {
                dt { "Log" }
                dd data-handled=(frame.log.handled) data-committed=(frame.log.committed) data-at-gate[frame.log.at_gate] {
                    "commit " (frame.log.committed) " is the newest, handled up to " (frame.log.handled)
                    @if frame.log.at_gate { ", " b.warn { "one waits at the gate" } }
                }
                @if let Some(replica) = frame.log.replica { dd { "the replica has executed up to " (replica) } }
            }
            @if !frame.readers.is_empty() {
                div.all {
                    dt { "Readers" }
                    dd.readers { @for reader in &frame.readers { (reader_now(reader)) } }
                }
            }
        }
    }
}

fn reader_now(reader: &ReaderState) -> Markup {
    let (state, value, words) = match &reader.progress {
        Progress::Held { read } => ("held", read.as_str(), "has read, and has not stored:"),
        Progress::Waiting => ("waiting", "", "waits for a load"),
        Progress::Got { value, from_cache: true } => ("cache", value.as_str(), "got from the cache:"),
        Progress::Got { value, from_cache: false } => ("database", value.as_str(), "got from the database:"),
        Progress::Failed(why) => ("failed", why.as_str(), "failed:"),
    };
    html! {
        span.wrong[reader.is_wrong()] data-reader=(reader.name) data-state=(state) data-value=(value) data-wrong[reader.is_wrong()] {
            b { (reader.name) } " " (words) " " (value)
            @if reader.is_wrong() { " (the row was " (reader.asked) " when it asked)" }
        }
    }
}

fn line(view: &View, place: usize, step: &Step) -> Markup {
    let at = view.played.len();
    let class = match place + 1 {
        number if number == at => "now",
        number if number < at => "done",
        _ => "todo",
    };
    html! {
        li.(class) data-lane=(step.lane().as_str()) aria-current=[(class == "now").then_some("step")] {
            b { (place + 1) ". " (step.name) }
            span.lane.m { " · " (lane_name(step.lane(), view.side)) }
            @if let Some(played) = view.played.get(place) {
                ul { @for fact in &played.facts { li data-fact { (fact) } } }
            }
        }
    }
}

/// Renders what to do after the last step: the other side, and the rule that closes the race.
fn rule(view: &View) -> Markup {
    let View { scene, side, .. } = view;
    let (name, anchor) = scene.rule;
    html! {
        @if view.played.len() == scene.steps.len() {
            div.row {
                @match side {
                    Side::Naive => a.btn.lg.pri data-other href=(url(scene, Side::Cachefront, 0)) { "The same race with cachefront" },
                    Side::Cachefront => a.btn.lg data-other href="/race" { "The next race" },
                }
                span { "The rule that closes this race: " a href=(format!("{PROTOCOL}#{anchor}")) target="_blank" rel="noreferrer" { (name) } }
            }
        }
    }
}
