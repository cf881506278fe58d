//! Debezium's connector: the state of it and its tasks, why something failed, its configuration, and the buttons that
//! control it. Secrets were already removed from what is shown.

use maud::{Markup, html};
use simulator_model::connect::{ConnectorState, TaskState};
use simulator_model::domain::Mode;
use simulator_model::kafka_report::{KafkaReport, TopicPlace};

use super::context::PageContext;
use super::icon::icon;
use super::text::{grouped, millis};
use crate::tab::Tab;

/// The setting for Kafka Connect's own dead letter topic.
const DEAD_LETTERS: &str = "errors.deadletterqueue.topic.name";

/// Why the connector produces no changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Paused on purpose.
    Paused,
    Failed,
}

/// Returns the last known state of the connector, `None` if the source has none.
pub(super) fn state(context: &PageContext<'_>) -> Option<ConnectorState> {
    context.panel.api.connector.as_ref().map(|watchdog| watchdog.watch().borrow().clone())
}

/// Returns why changes wait in the database's log, if they do. A connector whose state is unknown counts as running.
pub(super) fn halt(state: Option<&ConnectorState>) -> Option<Halt> {
    match state? {
        state if state.is_paused() => Some(Halt::Paused),
        state if state.has_failed() => Some(Halt::Failed),
        _ => None,
    }
}

/// Returns the text of its box in the view of the pipeline.
pub(super) fn words(state: &ConnectorState) -> String {
    let running = state.tasks.iter().filter(|task| task.state == "RUNNING").count();
    match (&state.connector, state.tasks.iter().find(|task| task.has_failed())) {
        (None, _) => "Connect does not respond".to_owned(),
        (Some(_), _) if state.is_paused() => "paused".to_owned(),
        (Some(connector), _) if connector == "FAILED" => "failed".to_owned(),
        (_, Some(task)) => format!("task {} failed", task.number),
        (_, None) => format!("{running} of {} tasks run", state.tasks.len()),
    }
}

/// Renders the line above the pipeline while changes wait for the connector.
pub(super) fn waiting(context: &PageContext<'_>, state: &ConnectorState) -> Markup {
    let Some(halt) = halt(Some(state)) else { return html! {} };
    let (class, sign, head, advice) = match halt {
        Halt::Paused => ("soft", "tri", "The connector is paused.", "Resume it, and it goes on where it stood."),
        Halt::Failed => (
            "hard",
            "sq",
            "The connector has failed.",
            "A consumer starts it again every few seconds; the connector's card says what to fix.",
        ),
    };
    let since = context.moment.pipeline.lag_ms.map(|lag| format!(" of the last {}", millis(lag))).unwrap_or_default();
    let stale = match context.moment.pipeline.mode {
        Mode::Cdc => ", and what they change is stale until they come",
        Mode::Ttl => "",
    };
    html! {
        div.banner.halt.(class) data-halt {
            (icon(sign))
            span { b { (head) } " Changes" (since) " wait in the database's log" (stale) ". " (advice) }
        }
    }
}

/// The same line at the top of the pages that do not show the pipeline.
pub(super) fn elsewhere(context: &PageContext<'_>) -> Markup {
    match (context.tab, state(context)) {
        (Tab::Cache | Tab::Audit, Some(state)) => waiting(context, &state),
        _ => html! {},
    }
}

pub(super) fn connector(context: &PageContext<'_>, state: &ConnectorState) -> Markup {
    html! {
        section.connector aria-labelledby="h-connector" {
            div.row {
                h3 #h-connector { "Connector" }
                (chip(state.connector.as_deref(), ""))
                @if !state.worker.is_empty() { span.m.s { "on " (state.worker) } }
                span.grow {}
                (buttons(context, state))
            }
            @if let Some(trouble) = &state.trouble { p.fail { (trouble) } }
            (trace("the connector", &state.trace))
            @for task in &state.tasks { (of_task(context, task)) }
            @if let Some(carried) = &context.moment.carried { (topics(carried)) (gaps(carried)) }
            (configuration(state))
        }
    }
}

/// Renders a state. A pause on purpose is not a failure: amber, not red.
fn chip(said: Option<&str>, what: &str) -> Markup {
    let (class, sign) = match said {
        Some("RUNNING") => ("pass", "ok"),
        None => ("unknown", "unk"),
        Some("FAILED") => ("miss", "sq"),
        Some(_) => ("wait", "tri"),
    };
    html! { span.chip.(class) { (icon(sign)) (what) (said.unwrap_or("does not respond")) } }
}

fn buttons(context: &PageContext<'_>, state: &ConnectorState) -> Markup {
    let off = !context.operates() || state.connector.is_none();
    let press = |path: &'static str, words: &'static str| {
        html! {
            button.btn type="button" data-key=(path) data-post=(format!("/connector/{path}")) disabled[off] title=[context.reason()] { (words) }
        }
    };
    html! {
        @if state.is_paused() { (press("resume", "Resume")) } @else { (press("pause", "Pause connector")) }
        (press("restart", "Restart"))
    }
}

fn of_task(context: &PageContext<'_>, task: &TaskState) -> Markup {
    html! {
        div.row data-key=(format!("task{}", task.number)) data-task=(task.number) {
            (chip(Some(&task.state), &format!("task {}: ", task.number)))
            span.m.s { "on " (task.worker) }
            span.grow {}
            @if task.has_failed() {
                button.btn type="button" data-post=(format!("/connector/tasks/{}/restart", task.number))
                    disabled[!context.operates()] title=[context.reason()] { "Restart task " (task.number) }
            }
        }
        (trace(&format!("task {}", task.number), &task.trace))
    }
}

/// Renders the first lines of a stack trace, folded because they are long.
fn trace(what: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            details.trace data-key=(format!("trace of {what}")) {
                summary { "Why " (what) " failed" }
                pre tabindex="0" { code { (lines.join("\n")) } }
            }
        }
    }
}

/// How far the consumer has read each topic.
fn topics(carried: &KafkaReport) -> Markup {
    let behind = carried.topics.iter().filter_map(TopicPlace::behind).sum();
    let unread = carried.topics.iter().any(|place| place.next.is_none());
    html! {
        @if !carried.topics.is_empty() {
            details data-key="topics" {
                summary {
                    "Topics (" (carried.topics.len()) "): " span.warn[behind > 0 || unread] {
                        (if unread { "not read now".to_owned() } else { records(behind) + " behind" })
                    }
                }
                table.topics {
                    thead { tr { th scope="col" { "topic" } th scope="col" { "read up to" } th scope="col" { "end" } th scope="col" { "behind" } } }
                    tbody { @for place in &carried.topics { (topic(place)) } }
                }
            }
        }
        @if carried.restarts > 0 {
            p.m {
                "The consumer has started what failed again, "
                (if carried.restarts == 1 { "once".to_owned() } else { format!("{} times", grouped(carried.restarts)) })
                " since it began."
            }
        }
    }
}

fn topic(place: &TopicPlace) -> Markup {
    html! {
        tr data-key=(format!("{}[{}]", place.topic, place.partition)) data-topic=(place.topic) {
            td.mono title=(place.topic) { (place.topic) @if place.partition > 0 { " [" (place.partition) "]" } }
            td { (place.next.map_or("not read".to_owned(), grouped)) }
            td { (grouped(place.end)) }
            td.warn[place.behind().is_none_or(|behind| behind > 0)] { (place.behind().map_or("–".to_owned(), grouped)) }
        }
    }
}

fn records(count: u64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{} records", grouped(count)) }
}

/// Renders the records that could not be decoded, and why. None of them needs to be replayed.
fn gaps(carried: &KafkaReport) -> Markup {
    html! {
        @if carried.gaps.is_empty() {
            p.m { "Every record was read and understood." }
        } @else {
            details data-key="gaps" {
                summary { "Not understood, or lost: " span.fail { (carried.gaps.len()) } }
                ol.gaps tabindex="0" {
                    @for gap in &carried.gaps {
                        li data-key=(format!("{}{}", gap.at, gap.reason)) {
                            span.mono.m { (gap.at) }
                            @if let Some((topic, partition, offset)) = &gap.record {
                                span.mono { (topic) " [" (partition) "] offset " (offset) }
                            }
                            span { (gap.reason) }
                        }
                    }
                }
                p.m {
                    "No record is skipped silently: after each of these everything that was cached was flushed and loaded again, so no stale value is left. Reading again from that offset would not change anything. The last 20 are kept, without their values."
                }
            }
        }
    }
}

fn configuration(state: &ConnectorState) -> Markup {
    html! {
        @if !state.config.is_empty() {
            details data-key="configuration" {
                summary { "Configuration (" (state.config.len()) " settings, secrets are not shown)" }
                @if let Some(topic) = state.config.get(DEAD_LETTERS).filter(|topic| !topic.is_empty()) {
                    p.m { "A dead letter topic is named (" (topic) "). Kafka Connect writes to it for sinks only: a source like this one fails instead, and says why above." }
                }
                dl.settings { @for (name, value) in state.config.iter() { dt { (name) } dd { (value) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(connector: Option<&str>, tasks: &[&str]) -> ConnectorState {
        let task = |(number, state): (usize, &&str)| {
            let mut task = TaskState::default();
            task.number = u32::try_from(number).expect("few");
            (task.state, task.worker) = ((*state).to_owned(), "w:1".to_owned());
            task
        };
        let mut state = ConnectorState::default();
        state.connector = connector.map(str::to_owned);
        state.tasks = tasks.iter().enumerate().map(task).collect();
        state
    }

    #[test]
    fn a_stop_on_purpose_is_shown_apart_from_a_failure() {
        for (connector, tasks, expected, in_words) in [
            (Some("RUNNING"), vec!["RUNNING"], None, "1 of 1 tasks run"),
            (Some("PAUSED"), vec!["PAUSED"], Some(Halt::Paused), "paused"),
            (Some("STOPPED"), vec![], Some(Halt::Paused), "paused"),
            (Some("RUNNING"), vec!["RUNNING", "FAILED"], Some(Halt::Failed), "task 1 failed"),
            (Some("FAILED"), vec![], Some(Halt::Failed), "failed"),
            (None, vec![], None, "Connect does not respond"),
        ] {
            let state = said(connector, &tasks);
            assert_eq!((halt(Some(&state)), words(&state).as_str()), (expected, in_words));
        }
        assert_eq!(halt(None), None);
    }
}
