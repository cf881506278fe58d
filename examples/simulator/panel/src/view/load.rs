//! Load: a preset, start and stop, and progress. And the same load in TTL mode, there with stale-while-revalidate, and in CDC mode.

use loadgen::load::progress::Phase;
use loadgen::load::threshold::{Measure, Measured, Threshold};
use loadgen::load::{LoadProgress, PRESETS};
use loadgen::modes_control::ModesPhase;
use maud::{Markup, html};

use super::context::PageContext;
use super::icon::icon;
use super::text::{grouped, millis};
use crate::results::{About, Figures, Goal, Pair};
use crate::runs::Chosen;

/// The numbers that are shown; the others are in the report.
const SHOWN: [&str; 4] = ["Stale reads", "Staleness, p99", "Hit ratio", "Database loads"];

pub(super) fn load(context: &PageContext<'_>) -> Markup {
    let runs = &context.panel.runs;
    let progress = runs.load.watch().borrow().clone();
    let active = progress.phase.is_active();
    let kept = runs.results.load().filter(|_| !active);
    html! {
        div.hd {
            h2 #h-load { "Load" } span.m.s { (state(&progress)) } span.grow {}
            @if active {
                button.btn type="button" data-post="/stop/load" disabled[!context.operates()] title=[context.reason()] {
                    (icon("stop")) "Stop"
                }
            }
        }
        (form(context, "/load", "Start", &runs.chosen_load(), active))
        (ended(active, progress.message.as_deref(), &[]))
        @if active {
            (numbers(&live(&progress)))
            (goals(&runs.goals().iter().map(|goal| so_far(goal, &progress)).collect::<Vec<_>>(), true))
        } @else if let Some(kept) = &kept {
            (about(progress.verdict.is_some(), &kept.about, &of_mode(kept.mode.as_deref())))
            (numbers(&kept.figures))
            (goals(&kept.goals.iter().cloned().map(Some).collect::<Vec<_>>(), false))
        }
    }
}

fn state(progress: &LoadProgress) -> String {
    let (elapsed, left) = (progress.elapsed_ms / 1_000, progress.left_ms / 1_000);
    match progress.phase {
        Phase::Idle => "not started".to_owned(),
        Phase::Preparing => "makes its rows".to_owned(),
        Phase::WarmingUp => "warms up".to_owned(),
        Phase::Running | Phase::Draining => format!("runs for {elapsed} s, {left} s left"),
        Phase::Finished if progress.dropped > 0 => "not valid: the rate could not be kept".to_owned(),
        Phase::Finished => format!("finished: {:.0}/s", progress.rate_achieved),
        Phase::Stopped => "stopped".to_owned(),
        Phase::Failed => "failed".to_owned(),
    }
}

/// Renders why a run failed or what the user has to do, whichever way it ended; nothing that its notes say already.
pub(super) fn ended(active: bool, message: Option<&str>, notes: &[String]) -> Markup {
    let message = message.filter(|message| !active && !notes.iter().any(|note| note == message));
    html! { @if let Some(message) = message { p.pad.fail data-message { (message) } } }
}

/// Renders what was measured and when, so that an old result is not taken for a new one.
fn about(is_new: bool, about: &About, more: &str) -> Markup {
    let word = if is_new { "Result" } else { "Previous result" };
    let rate = about.rate.map(|rate| format!(" at {rate}/s")).unwrap_or_default();
    html! {
        p.pad.m.s data-result=(if is_new { "new" } else { "previous" }) data-preset=(about.preset) { b { (word) } " of " span.mono { (moment(&about.at)) } ": " (about.preset) (rate) " for " (about.seconds) " s" (more) ", seed " (about.seed) }
    }
}

fn of_mode(mode: Option<&str>) -> String {
    mode.map(|mode| format!(", {} mode", mode.to_uppercase())).unwrap_or_default()
}

/// Formats a time to the second.
fn moment(at: &str) -> String {
    let (seconds, _) = at.split_once('.').unwrap_or((at.trim_end_matches('Z'), ""));
    format!("{} UTC", seconds.replace('T', " "))
}

fn live(progress: &LoadProgress) -> Figures {
    Figures {
        rate: progress.rate_achieved,
        p50_ms: progress.p50_ms,
        p99_ms: progress.p99_ms,
        hit_ratio: progress.hit_ratio,
        stale: progress.stale_reads,
        stale_late: progress.stale_late,
        window_max_ms: progress.window_max_ms,
        errors: progress.errors,
        dropped: progress.dropped,
    }
}

fn numbers(figures: &Figures) -> Markup {
    let time = |value: Option<f64>| value.map_or("–".to_owned(), millis);
    html! {
        dl.numbers {
            div { dt { "requests" } dd { (format!("{:.0}/s", figures.rate)) } }
            div { dt { "p50" } dd { (time(figures.p50_ms)) } }
            div { dt { "p99" } dd { (time(figures.p99_ms)) } }
            div { dt { "hits" } dd { (figures.hit_ratio.map_or("–".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0))) } }
            div { dt { "stale reads" } dd.bad[figures.stale_late > 0] { (grouped(figures.stale)) } }
            div title="The probe writes rows of its own, and reads each until it is fresh" { dt { "longest stale" } dd { (time(figures.window_max_ms)) } }
            div { dt { "errors" } dd.fail[figures.errors > 0] { (grouped(figures.errors)) } }
            div { dt { "dropped" } dd.fail[figures.dropped > 0] { (grouped(figures.dropped)) } }
        }
    }
}

/// Returns the current result of a goal, `None` if it is only known at the end of the load.
fn so_far(goal: &Threshold, progress: &LoadProgress) -> Option<Goal> {
    let plain = |value: f64| Measured { value, percent: None };
    let part = |value: u64, whole: u64| Measured {
        value: value as f64,
        percent: (whole > 0).then(|| value as f64 / whole as f64 * 100.0),
    };
    let measured = match goal.measure {
        Measure::P50 => plain(progress.p50_ms?),
        Measure::P99 => plain(progress.p99_ms?),
        Measure::Errors => part(progress.errors, progress.answered),
        Measure::Dropped => part(progress.dropped, progress.answered + progress.dropped),
        Measure::Stale => plain(progress.stale_reads as f64),
        Measure::StaleLate => plain(progress.stale_late as f64),
        Measure::Hits => {
            let percent = progress.hit_ratio? * 100.0;
            Measured { value: percent, percent: Some(percent) }
        }
        Measure::Rate => plain(progress.rate_achieved),
        Measure::WindowMax => plain(progress.window_max_ms?),
        _ => return None,
    };
    let judged = goal.judge(Some(measured));
    judged.measured?;
    Some(Goal { goal: judged.threshold.to_string(), met: judged.met, shown: judged.shown })
}

fn goals(goals: &[Option<Goal>], running: bool) -> Markup {
    html! {
        @if goals.iter().any(Option::is_some) {
            div.chips {
                @if running { span.m.s { "goals so far" } }
                @for goal in goals.iter().flatten() {
                    span.chip.(if goal.met { "pass" } else { "miss" }) title=(format!("measured: {}", goal.shown)) {
                        (icon(if goal.met { "ok" } else { "sq" })) (goal.goal) ": " (goal.shown)
                    }
                }
            }
        }
    }
}

/// Renders the form, also during a run, so that the choices are kept for the next one.
fn form(context: &PageContext<'_>, action: &str, words: &str, chosen: &Chosen, active: bool) -> Markup {
    let off = !context.operates() || context.moment.database_away || active;
    let reason = context.reason().or_else(|| active.then_some("It runs: stop it first, or wait for its end"));
    let each = action == "/experiment";
    html! {
        form.run data-form=(action) {
            label.f { span { "Preset" }
                select name="preset" disabled[off] {
                    @for preset in &PRESETS {
                        option value=(preset.name) title=(preset.description) selected[preset.name == chosen.preset]
                            data-rate=(preset.rate) data-seconds=(Chosen::seconds_of(preset, each)) { (preset.name) }
                    }
                }
            }
            label.f { span { "Requests/s" } input name="rate" type="number" value=(chosen.rate) min="1" max="20000" step="any" required disabled[off]; }
            label.f { span { (if each { "Seconds each" } else { "Seconds" }) }
                input name="seconds" type="number" value=(chosen.seconds) min="1" max="3600" required disabled[off]; }
            button.btn.lg type="submit" disabled[off] title=[reason] { (icon("play")) (words) }
        }
    }
}

pub(super) fn experiment(context: &PageContext<'_>) -> Markup {
    let runs = &context.panel.runs;
    let control = &runs.experiment;
    let progress = control.watch().borrow().clone();
    let result = runs.results.experiment();
    let note = match (progress.phase, progress.run.side) {
        (ModesPhase::Running, Some(side)) => {
            format!(
                "{} side: {} · {} s left in all",
                side.to_uppercase(),
                state(&progress.load),
                progress.left_ms / 1_000
            )
        }
        (ModesPhase::Switching, side) => {
            format!("switching to {}", side.unwrap_or("the first mode").to_uppercase())
        }
        (ModesPhase::Restoring, _) => "putting the mode back".to_owned(),
        (ModesPhase::Stopped, _) => "stopped early: nothing to compare".to_owned(),
        _ => "one press runs all three with the same seed".to_owned(),
    };
    let active = progress.phase.is_active();
    // Unless the last run has finished, the result is that of an earlier one.
    let is_new = progress.phase == ModesPhase::Finished;
    html! {
        div.hd {
            h2 #h-ab { "A/B: TTL, TTL with revalidation, CDC" } span.m.s.full { (note) } span.grow {}
            @if result.is_some() {
                a.btn.q href="/experiment/html" download { "Export HTML" }
                a.btn.q href="/experiment/json" download { "JSON" }
            }
            @if active {
                button.btn type="button" data-post="/stop/experiment" disabled[!context.operates()] title=[context.reason()] { (icon("stop")) "Stop" }
            }
        }
        (form(context, "/experiment", "Run all", &runs.chosen_experiment(), active))
        @if active { (numbers(&live(&progress.load))) }
        (ended(active, progress.message.as_deref(), result.as_ref().map_or(&[], |result| &result.notes)))
        @if let Some(result) = &result {
            (about(is_new, &result.about, " each"))
            p.pad.sentence { (result.verdict) }
            @if let Some(caches) = &result.caches { p.pad.s.m data-caches { "Caches built with: " (caches) } }
            @if !result.notes.is_empty() { p.pad.warn { (result.notes.join(" ")) } }
            div.ab { @for row in result.pairs.iter().filter(|row| SHOWN.contains(&row.name.as_str())) { (pair(row)) } }
        }
    }
}

fn pair(row: &Pair) -> Markup {
    let top = [row.ttl, row.swr, row.cdc].into_iter().flatten().fold(0.0, f64::max);
    let width = |value: Option<f64>| {
        let share = if top > 0.0 { value.unwrap_or(0.0) / top } else { 0.0 };
        format!("{:.1}%", share * 100.0)
    };
    let is_bad = |value: Option<f64>| row.less_is_better && row.name != "Database loads" && value > row.cdc;
    html! {
        div title=(row.note) {
            h3 { (row.name) }
            p { span.m { "TTL" } svg aria-hidden="true" { rect.t width=(width(row.ttl)) height="8" {} } b.bad[is_bad(row.ttl)] { (shown(row, row.ttl)) } }
            p { span.m title="TTL with stale-while-revalidate" { "SWR" } svg aria-hidden="true" { rect.r width=(width(row.swr)) height="8" {} } b.bad[is_bad(row.swr)] { (shown(row, row.swr)) } }
            p { span.m { "CDC" } svg aria-hidden="true" { rect.c width=(width(row.cdc)) height="8" {} } b { (shown(row, row.cdc)) } }
        }
    }
}

fn shown(row: &Pair, value: Option<f64>) -> String {
    match (value, row.unit.as_str()) {
        (None, _) => "–".to_owned(),
        (Some(value), "ms") => millis(value),
        (Some(value), "%") => format!("{value:.1} %"),
        (Some(value), "/s") => format!("{value:.1} /s"),
        (Some(value), _) => grouped(value.max(0.0) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(text: &str) -> Threshold {
        text.parse().expect("a goal")
    }

    #[test]
    fn goals_are_judged_while_the_load_runs_unless_it_is_too_early() {
        let progress = LoadProgress { errors: 3, answered: 100, p99_ms: Some(7.5), ..LoadProgress::default() };
        let errors = so_far(&goal("errors<0.1%"), &progress).expect("known");
        assert!(!errors.met && errors.shown == "3.00 %", "{errors:?}");
        assert!(so_far(&goal("p99<50ms"), &progress).expect("known").met);
        assert_eq!(so_far(&goal("p50<50ms"), &progress), None);
        assert_eq!(so_far(&goal("errors<0.1%"), &LoadProgress::default()), None);
    }

    #[test]
    fn a_message_is_shown_however_the_run_ended_and_once() {
        let message = Some("the mode was cdc and could not be put back");
        assert!(ended(false, message, &[]).into_string().contains("could not be put back"));
        assert_eq!(ended(true, message, &[]).into_string(), "");
        assert_eq!(ended(false, None, &[]).into_string(), "");
        assert_eq!(ended(false, message, &["the mode was cdc and could not be put back".into()]).into_string(), "");
    }

    #[test]
    fn a_time_is_shown_to_the_second() {
        assert_eq!(moment("2026-01-31T12:00:05.123456Z"), "2026-01-31 12:00:05 UTC");
        assert_eq!(moment("2026-01-31T12:00:05Z"), "2026-01-31 12:00:05 UTC");
    }
}
