//! Load: a preset, start and stop, and how it is doing. And the same load in both modes, side by side.

use maud::{Markup, html};

use super::Scene;
use super::icon::icon;
use super::text::{grouped, millis};
use crate::experiment::outcome::{Compared, ExperimentPhase};
use crate::load::progress::Phase;
use crate::load::{LoadProgress, PRESETS};

/// The numbers that stand first; the others are in the report.
const SHOWN: [&str; 4] = ["Stale reads", "Staleness, p99", "Hit ratio", "Database loads"];

pub(super) fn load(scene: &Scene<'_>) -> Markup {
    let runs = &scene.panel.runs;
    let progress = runs.load.watch().borrow().clone();
    let active = progress.phase.is_active();
    html! {
        div.hd {
            h2 #h-load { "Load" } span.m.s { (state(&progress)) } span.grow {}
            @if active {
                button.btn type="button" data-post="/stop/load" disabled[!scene.operates()] title=[scene.reason()] {
                    (icon("stop")) "Stop"
                }
            }
        }
        @if !active { (form(scene, "/load", "Start", "200", "60")) }
        // The last run's numbers stay until the next one begins.
        @if !matches!(progress.phase, Phase::Idle | Phase::Failed) { (numbers(&progress)) }
        (goals(scene, active))
        @if let (Phase::Failed, Some(message)) = (progress.phase, &progress.message) { p.pad.fail { (message) } }
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

fn numbers(progress: &LoadProgress) -> Markup {
    let time = |value: Option<f64>| value.map_or("–".to_owned(), millis);
    html! {
        dl.numbers {
            div { dt { "requests" } dd { (format!("{:.0}/s", progress.rate_achieved)) } }
            div { dt { "p50" } dd { (time(progress.p50_ms)) } }
            div { dt { "p99" } dd { (time(progress.p99_ms)) } }
            div { dt { "hits" } dd { (progress.hit_ratio.map_or("–".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0))) } }
            div { dt { "stale reads" } dd.bad[progress.stale_late > 0] { (grouped(progress.stale_reads)) } }
            div { dt { "dropped" } dd.fail[progress.dropped > 0] { (grouped(progress.dropped)) } }
        }
    }
}

fn form(scene: &Scene<'_>, action: &str, words: &str, rate: &str, seconds: &str) -> Markup {
    let off = !scene.operates() || scene.moment.database_away;
    html! {
        form.run data-form=(action) {
            label.f { span { "Preset" }
                select name="preset" disabled[off] { @for preset in &PRESETS { option value=(preset.name) title=(preset.description) { (preset.name) } } }
            }
            label.f { span { "Requests/s" } input name="rate" type="number" value=(rate) min="1" max="20000" step="any" required disabled[off]; }
            label.f { span { "Seconds" } input name="seconds" type="number" value=(seconds) min="1" max="3600" required disabled[off]; }
            button.btn.lg type="submit" disabled[off] title=[scene.reason()] { (icon("play")) (words) }
        }
    }
}

fn goals(scene: &Scene<'_>, active: bool) -> Markup {
    let Some(result) = scene.panel.runs.load.result().filter(|_| !active) else { return html! {} };
    html! {
        div.chips {
            @for goal in &result.goals {
                span.chip.(if goal.met { "pass" } else { "miss" }) title=(goal.shown) {
                    (icon(if goal.met { "ok" } else { "sq" })) (goal.threshold)
                }
            }
        }
    }
}

pub(super) fn experiment(scene: &Scene<'_>) -> Markup {
    let control = &scene.panel.runs.experiment;
    let progress = control.watch().borrow().clone();
    let result = control.result();
    let note = match (progress.phase, progress.side) {
        (ExperimentPhase::Running, Some(side)) => {
            format!(
                "{} side: {} · {} s left in all",
                side.to_uppercase(),
                state(&progress.load),
                progress.left_ms / 1_000
            )
        }
        (ExperimentPhase::Switching, side) => {
            format!("switching to {}", side.unwrap_or("the first mode").to_uppercase())
        }
        (ExperimentPhase::Restoring, _) => "putting the mode back".to_owned(),
        (ExperimentPhase::Stopped, _) => "stopped early: nothing to compare".to_owned(),
        _ => match &result {
            Some(result) => format!("seed {} · {} s each", result.seed, result.plan.length().as_secs()),
            None => "one press runs both modes with the same seed".to_owned(),
        },
    };
    html! {
        div.hd {
            h2 #h-ab { "A/B: TTL against CDC" } span.m.s.full { (note) } span.grow {}
            @if result.is_some() {
                a.btn.q href="/experiment/html" download { "Export HTML" }
                a.btn.q href="/experiment/json" download { "JSON" }
            }
            @if progress.phase.is_active() {
                button.btn type="button" data-post="/stop/experiment" disabled[!scene.operates()] title=[scene.reason()] { (icon("stop")) "Stop" }
            }
        }
        @if progress.phase.is_active() { (numbers(&progress.load)) } @else { (form(scene, "/experiment", "Run both", "200", "30")) }
        @if let (ExperimentPhase::Failed, Some(message)) = (progress.phase, &progress.message) { p.pad.fail { (message) } }
        @if let Some(result) = &result {
            p.pad.sentence { (result.verdict) }
            @if !result.notes.is_empty() { p.pad.warn { (result.notes.join(" ")) } }
            div.ab { @for row in result.compared.iter().filter(|row| SHOWN.contains(&row.name)) { (pair(row)) } }
        }
    }
}

fn pair(row: &Compared) -> Markup {
    let top = row.ttl.unwrap_or(0.0).max(row.cdc.unwrap_or(0.0));
    let width = |value: Option<f64>| {
        let share = if top > 0.0 { value.unwrap_or(0.0) / top } else { 0.0 };
        format!("{:.1}%", share * 100.0)
    };
    let is_bad = row.less_is_better && row.name != "Database loads" && row.ttl > row.cdc;
    html! {
        div title=(row.note) {
            h3 { (row.name) }
            p { span.m { "TTL" } svg aria-hidden="true" { rect.t width=(width(row.ttl)) height="8" {} } b.bad[is_bad] { (shown(row, row.ttl)) } }
            p { span.m { "CDC" } svg aria-hidden="true" { rect.c width=(width(row.cdc)) height="8" {} } b { (shown(row, row.cdc)) } }
        }
    }
}

fn shown(row: &Compared, value: Option<f64>) -> String {
    match (value, row.unit) {
        (None, _) => "–".to_owned(),
        (Some(value), "ms") => millis(value),
        (Some(value), "%") => format!("{value:.1} %"),
        (Some(value), "/s") => format!("{value:.1} /s"),
        (Some(value), _) => grouped(value.max(0.0) as u64),
    }
}
