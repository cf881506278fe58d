//! The TTL sweep: its form and progress, and its result as curves over the lifetime.

use loadgen::load::{PRESETS, lifetime};
use loadgen::modes_control::ModesPhase;
use loadgen::record::{Figures, Measurement, RunRecord};
use loadgen::sweep::outcome::{SweepProgress, name, spread};
use maud::{Markup, html};

use super::context::PageContext;
use super::icon::icon;
use super::load::ended;
use super::plot::{Curve, Plot, Point};
use super::text::millis;

pub(super) fn sweep(context: &PageContext<'_>) -> Markup {
    let runs = &context.panel.runs;
    let progress = runs.sweep.watch().borrow().clone();
    let active = progress.phase.is_active();
    html! {
        div.hd {
            h2 #h-sweep { "TTL sweep" } span.m.s.full data-sweep=(word(progress.phase)) { (state(&progress)) } span.grow {}
            @if active {
                button.btn type="button" data-post="/stop/sweep" disabled[!context.operates()] title=[context.reason()] { (icon("stop")) "Cancel" }
            }
        }
        (form(context, active))
        @if active {
            @let (done, all) = (progress.elapsed_ms, progress.elapsed_ms + progress.left_ms);
            progress.bar max=(all.max(1)) value=(done) aria-label="How much of the sweep has been measured" {}
        }
        (ended(active, progress.message.as_deref(), &[]))
        @if let (false, Some(id)) = (active, runs.results.sweep()) {
            p.pad { "The last sweep is finished: " a href=(format!("/runs/{id}")) data-result { "show its result" } ". The list below has it after a reload of the page." }
        }
    }
}

fn word(phase: ModesPhase) -> &'static str {
    match phase {
        ModesPhase::Idle => "idle",
        ModesPhase::Switching => "switching",
        ModesPhase::Running => "running",
        ModesPhase::Restoring => "restoring",
        ModesPhase::Finished => "finished",
        ModesPhase::Stopped => "stopped",
        ModesPhase::Failed => "failed",
    }
}

fn state(progress: &SweepProgress) -> String {
    let ((part, parts), left) = (progress.run.part, progress.left_ms / 1_000);
    match progress.phase {
        ModesPhase::Idle => "the same seeded load for each TTL, and in CDC mode".to_owned(),
        ModesPhase::Switching => format!("{part} of {parts}: switching to {} · {left} s left", progress.run.name),
        ModesPhase::Running => format!("{part} of {parts}: {} · {left} s left", progress.run.name),
        ModesPhase::Restoring => "putting the mode back".to_owned(),
        ModesPhase::Finished => "finished".to_owned(),
        ModesPhase::Stopped => "stopped early: nothing to compare".to_owned(),
        ModesPhase::Failed => "failed".to_owned(),
    }
}

/// Renders the form, also during a sweep, so that the choices are kept for the next one.
fn form(context: &PageContext<'_>, active: bool) -> Markup {
    let chosen = context.panel.runs.chosen_sweep();
    let off = !context.operates() || context.moment.database_away || active;
    let reason = context.reason().or_else(|| active.then_some("It runs: cancel it first, or wait for its end"));
    html! {
        form.run.sweep-form data-form="/sweep" {
            label.f { span { "Preset" }
                select name="preset" disabled[off] {
                    @for preset in &PRESETS {
                        option value=(preset.name) title=(preset.description) selected[preset.name == chosen.preset]
                            data-rate=(preset.rate) data-seconds=(chosen.seconds) { (preset.name) }
                    }
                }
            }
            label.f { span { "Requests/s" } input name="rate" type="number" value=(chosen.rate) min="1" max="20000" step="any" required disabled[off]; }
            label.f { span { "Seconds each" } input name="seconds" type="number" value=(chosen.seconds) min="1" max="3600" required disabled[off]; }
            label.f { span { "TTLs" } input name="ttls" value=(chosen.ttls) maxlength="80" required autocomplete="off" disabled[off]; }
            label.f { span { "Seeds" } input name="seeds" type="number" value=(chosen.seeds) min="1" max="5" required disabled[off]; }
            button.btn.lg type="submit" disabled[off] title=[reason] { (icon("play")) "Run the sweep" }
        }
    }
}

/// A figure over the lifetime: its title, its unit, and where it is.
type Curved = (&'static str, &'static str, fn(&Measurement) -> Option<f64>);

const CURVED: [Curved; 2] = [
    ("Stale reads, of those judged", " %", |one| one.figures.stale_percent()),
    ("Database reads a second", "/s", |one| one.figures.database_loads),
];

/// Renders the result: curves over the lifetime, and their numbers.
pub(super) fn curves(record: &RunRecord) -> Markup {
    let ttls = ttls(record);
    html! {
        div.plots { @for curved in CURVED { (plot(record, &ttls, curved)) } }
        (table(record, &ttls))
        @let unexpired = record.unexpired_ttls();
        @if !unexpired.is_empty() {
            p.pad.s.m data-unexpired { "Each measurement took " (lifetime((record.seconds * 1e3) as u64)) ". Marked with *: a TTL beyond that, by which nothing expired." }
        }
    }
}

fn ttls(record: &RunRecord) -> Vec<u64> {
    let mut ttls: Vec<u64> = record.measurements.iter().filter_map(|one| one.ttl_ms).collect();
    ttls.sort_unstable();
    ttls.dedup();
    ttls
}

fn plot(record: &RunRecord, ttls: &[u64], (title, unit, of): Curved) -> Markup {
    let point = |x: u64, measured: Option<[f64; 3]>| Point {
        x: x as f64,
        y: measured.map(|[mean, ..]| mean),
        spread: measured.map(|[_, low, high]| (low, high)),
    };
    let measured = |ttl_ms: Option<u64>| spread(&record.measurements, ttl_ms, of);
    let by_age = ttls.iter().map(|ttl_ms| point(*ttl_ms, measured(Some(*ttl_ms)))).collect();
    // No lifetime is behind it: a level over the whole width, with the spread at both ends.
    let level = [ttls.first(), ttls.last()].into_iter().flatten().map(|x| point(*x, measured(None))).collect();
    let unexpired = record.unexpired_ttls();
    let mark = |ttl_ms: u64| if unexpired.contains(&ttl_ms) { " *" } else { "" };
    let ticks = ttls.iter().map(|ttl_ms| (*ttl_ms as f64, format!("{}{}", lifetime(*ttl_ms), mark(*ttl_ms)))).collect();
    let curves = vec![
        Curve {
            label: "TTL mode, by the TTL (log scale): mean and spread of the seeds".into(),
            class: "second",
            points: by_age,
        },
        Curve { label: "CDC mode, for any TTL".into(), class: "level", points: level },
    ];
    Plot { title, unit, ticks, is_log: true, curves }.figure()
}

fn table(record: &RunRecord, ttls: &[u64]) -> Markup {
    let unexpired = record.unexpired_ttls();
    let of = |ttl_ms: Option<u64>, figure: fn(&Figures) -> Option<f64>| {
        spread(&record.measurements, ttl_ms, |one| figure(&one.figures))
    };
    let ranged = |measured: Option<[f64; 3]>, unit: &str| match measured {
        Some([mean, low, high]) => {
            html! { (format!("{mean:.2}{unit}")) " " span.m.s { (format!("{low:.2} to {high:.2}")) } }
        }
        None => html! { "not measured" },
    };
    let most = |measured: Option<[f64; 3]>| measured.map_or("–".to_owned(), |[.., high]| millis(high));
    html! {
        table.compared.swept {
            thead { tr { th scope="col" { "by" } th scope="col" { "stale reads" } th scope="col" { "stale at most" } th scope="col" { "longest window" } th scope="col" { "database reads" } th scope="col" { "hits" } } }
            tbody {
                @for ttl_ms in ttls.iter().copied().map(Some).chain([None]) {
                    tr data-ttl=(ttl_ms.map_or("cdc".to_owned(), |ttl_ms| ttl_ms.to_string())) {
                        th scope="row" { (name(ttl_ms)) @if ttl_ms.is_some_and(|ttl_ms| unexpired.contains(&ttl_ms)) { " *" } }
                        td data-l="stale reads" { (ranged(of(ttl_ms, Figures::stale_percent), " %")) }
                        td data-l="stale at most" { (most(of(ttl_ms, |of| of.stale_age_max_ms))) }
                        td data-l="longest window" { (most(of(ttl_ms, |of| of.window_max_ms))) }
                        td data-l="database reads" { (ranged(of(ttl_ms, |of| of.database_loads), "/s")) }
                        td data-l="hits" { (ranged(of(ttl_ms, |of| of.hits), " %")) }
                    }
                }
            }
        }
    }
}
