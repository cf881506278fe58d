//! The guided demo: two buttons, and each step as it happens.

use maud::{Markup, html};

use super::context::PageContext;
use super::icon::icon;
use super::users::{cached_name, chip, database_name};
use crate::rows::UserRow;
use crate::tour::pace::Pace;
use crate::tour::{Progress, Scenario, Step, TourView};

pub(super) fn demo(context: &PageContext<'_>) -> Markup {
    let tour = &context.moment.tour;
    let hollow;
    let steps = match tour.scenario {
        Some(_) => &tour.steps,
        None => {
            hollow = TourView::of(Scenario::Ttl).steps;
            &hollow
        }
    };
    let state = match tour.at() {
        None if tour.waits.is_some() => {
            format!("before step {} of {}", tour.waits.unwrap_or_default() + 1, steps.len())
        }
        Some(at) => format!("step {at} of {}", steps.len()),
        None if tour.scenario.is_none() => "not started".to_owned(),
        None if tour.failed() => "stopped".to_owned(),
        None => "done".to_owned(),
    };
    // The sensible next one: first the problem, then its solution.
    let next = match tour.scenario {
        Some(Scenario::Ttl) => Scenario::Cdc,
        _ => Scenario::Ttl,
    };
    html! {
        div.hd { h2 #h-demo { "Guided demo" } span.grow {} span.m.s data-demo-state { (state) } }
        div.pad {
            div.two {
                (button(context, Scenario::Ttl, next, "ttl", "TTL stale read"))
                (button(context, Scenario::Cdc, next, "cdc", "CDC invalidation"))
            }
            (paces(context))
            @if let (Some(reason), true) = (context.mode_reason(), context.operates()) { p.m.s { (reason) } }
            ol.steps data-demo-user=[tour.user.filter(|_| tour.running)] data-scenario=[tour.scenario.map(|scenario| if scenario == Scenario::Ttl { "ttl" } else { "cdc" })] {
                @for step in steps { (line(step)) }
            }
            @if let Some(row) = &context.moment.demo { (state_of(row)) }
            p.m.s { "Why not just delete the key when the event comes? " a href="/race" { "The races, step by step" } }
            @if tour.waits.is_some() {
                button.btn.pri type="button" data-key="next" data-post="/demo/next" disabled[!context.operates()] title=[context.reason()] { "Next step" }
            }
            @if tour.running {
                button.btn.q type="button" data-key="stop" data-post="/demo/stop" disabled[!context.operates()] title=[context.reason()] { (icon("stop")) "Stop" }
            }
        }
    }
}

fn button(context: &PageContext<'_>, scenario: Scenario, next: Scenario, path: &str, words: &str) -> Markup {
    let tour = &context.moment.tour;
    let runs = tour.running && tour.scenario == Some(scenario);
    let off = context.mode_reason().is_some() || tour.running || context.moment.database_away;
    html! {
        button.btn.lg.pri[if tour.running { runs } else { next == scenario }] type="button" data-key=(path)
            data-post=(format!("/demo/{path}")) disabled[off]
            title=[context.mode_reason()] {
            (icon("play")) (words)
        }
    }
}

/// Renders the choice of the pace, which all tabs share.
fn paces(context: &PageContext<'_>) -> Markup {
    html! {
        div.paces role="group" aria-label="Pace of the demos" {
            @for (pace, name, words) in Pace::ALL {
                button.btn.q type="button" data-key=(name) aria-pressed=(context.moment.tour.pace == pace) data-post="/pace"
                    data-body=(format!("pace={name}")) disabled[!context.operates()] title=[context.reason()] { (words) }
            }
        }
    }
}

/// Renders the current row and entry of the demo's user.
fn state_of(row: &UserRow) -> Markup {
    html! {
        dl.side-by-side data-demo-state-of=(row.id) {
            div { dt { "database" } dd { (database_name(row)) } }
            div { dt { "cache" } dd { (cached_name(row)) } }
            div { dt { "state" } dd { (chip(row.state)) } }
        }
    }
}

fn line(step: &Step) -> Markup {
    let (class, sign) = match step.progress {
        Progress::Waiting => ("todo", "empty"),
        Progress::Now => ("now", "now"),
        Progress::Done => ("done", "ok"),
        Progress::Failed => ("failed", "sq"),
    };
    html! {
        li.(class) aria-current=[(step.progress == Progress::Now).then_some("step")] {
            (icon(sign)) span { (step.words) } span.note { (step.note) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::State;

    #[test]
    fn says_of_an_entry_that_cannot_be_read_what_the_table_says() {
        let row = UserRow { state: State::Unknown, ..UserRow::absent(1, None) };
        let card = state_of(&row).into_string();
        assert!(card.contains("not readable") && card.contains("unknown"), "{card}");
        assert!(!card.contains("not cached") && !card.contains("no row"), "{card}");
        assert!(state_of(&UserRow::absent(1, None)).into_string().contains("not cached"));
    }
}
