//! A result as a self-contained HTML file: a verdict, the numbers, the charts.

pub mod chart;
pub mod frame;

use maud::{Markup, html};

use self::chart::{Chart, Series};
use self::frame::{Tone, facts, frame, goals, quantiles, span};
pub use super::outcome::TimelinePoint;
use super::outcome::{Ending, LoadResult, interval_s};
use super::plan::{LoadPlan, Model};

/// Renders the report of one run.
pub fn page(result: &LoadResult) -> String {
    let (tone, title) = match result.verdict.ending {
        Ending::Met => (Tone::Good, "Goals met"),
        Ending::Missed => (Tone::Bad, "Goals missed"),
        Ending::Invalid => (Tone::Warn, "Not valid: requests were dropped"),
        Ending::Measured => (Tone::Plain, "Measured"),
    };
    let charts = charts(result);
    let body = html! {
        (frame::verdict(tone, title, &result.verdict.sentence))
        @for note in notes(result) { p.note { (note) } }
        (numbers(result))
        @if !result.goals.is_empty() {
            section.card { h2 { "Goals" } (goals(&result.goals)) }
        }
        section.charts { @for chart in &charts { (chart.figure()) } }
        section.card {
            h2 { "Latency in detail" }
            p.small.muted { (model_note(&result.plan)) }
            (quantiles(&[
                ("All requests", result.latency.all),
                ("Reads", result.latency.reads),
                ("Writes", result.latency.writes),
                ("Reads from the cache", result.latency.cached),
                ("Reads from the database", result.latency.loaded),
                ("From the sending", result.latency.service),
            ]))
        }
        section.card { h2 { "Staleness in detail" } (staleness(result)) }
        section.card { h2 { "What was run" } (plan_facts(&result.plan, result.mode.as_deref())) }
    };
    frame("Load report", &result.started_at, &body, &charts)
}

fn notes(result: &LoadResult) -> Vec<String> {
    let mut notes = Vec::new();
    if result.requests.dropped > 0 {
        notes.push(format!(
            "{} requests could not be sent in time: the latencies are those of a lower rate than {:.0} a second.",
            result.requests.dropped,
            result.requests.rate_wanted.unwrap_or_default()
        ));
    }
    if result.stopped {
        notes.push(format!("The run was ended early, after {:.1} s.", result.seconds));
    }
    notes
}

/// Renders the most important numbers.
fn numbers(result: &LoadResult) -> Markup {
    let (requests, fresh, cache) = (&result.requests, &result.freshness, &result.cache);
    let wanted = requests.rate_wanted.map_or("closed model".to_owned(), |rate| format!("of {rate:.0} wanted"));
    let hits = cache.hit_ratio.map_or("–".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0));
    let loads = match (cache.database_loads, cache.not_measured) {
        (Some(loads), _) => format!("{:.1} database loads a second", loads as f64 / result.seconds),
        (None, why) => format!("database loads not measured: {}", why.unwrap_or("unknown")),
    };
    let failed = format!("{} dropped", requests.dropped);
    html! {
        dl.card.numbers {
            div { dt { "Responses a second" } dd { (format!("{:.0}", requests.rate)) } dd { (wanted) } }
            div {
                dt { "99 % answered within" } dd { (span(result.latency.all.p99_ms)) }
                dd { "half within " (span(result.latency.all.p50_ms)) }
            }
            div { dt { "Failed requests" } dd.bad[requests.failed > 0] { (requests.failed) } dd { (failed) } }
            div { dt { "Hit ratio" } dd { (hits) } dd { (loads) } }
            div {
                dt { "Stale reads" } dd.bad[fresh.load.late > 0] { (fresh.load.stale) }
                dd { (fresh.load.late) " later than " (span(fresh.grace_ms)) " after the write" }
            }
            div {
                dt { "Staleness, longest" }
                dd.bad[fresh.probe.late > 0] { (if fresh.windows.count > 0 { span(fresh.windows.max_ms) } else { "–".to_owned() }) }
                dd { (fresh.windows.count) " probes, p99 " (span(fresh.windows.p99_ms)) }
            }
            div { dt { "Requests" } dd { (requests.answered) } dd { "in " (format!("{:.0} s", result.seconds)) } }
            div { dt { "Mode" } dd { (result.mode.as_deref().unwrap_or("–")) } dd { "seed " (result.seed) } }
        }
    }
}

fn staleness(result: &LoadResult) -> Markup {
    let fresh = &result.freshness;
    html! {
        p.small.muted {
            "A read is stale only if it started after a write was answered and returned a value that this write had \
             replaced for certain."
        }
        div.scroll { table {
            thead { tr { th { } th { "judged" } th { "not known" } th { "stale" } th { "late" } th { "oldest" } } }
            tbody { @for (name, reads) in [("Reads of the load", &fresh.load), ("Reads of the probe", &fresh.probe)] {
                tr {
                    td { (name) } td { (reads.judged) } td { (reads.unknown) } td { (reads.stale) } td { (reads.late) }
                    td { (span(reads.age.max_ms)) }
                }
            } }
        } }
        (quantiles(&[("Time until a read was fresh", fresh.windows)]))
        @if fresh.windows_open > 0 {
            p.small.muted { (fresh.windows_open) " rows were still stale at the end; they count with the time until then." }
        }
    }
}

/// Returns a note on how latencies are measured.
fn model_note(plan: &LoadPlan) -> &'static str {
    match plan.model {
        Model::Open { .. } => "Open model: counted from the moment a request was due, so that waiting cannot hide.",
        Model::Closed { .. } => {
            "Closed model: each client waits for its answer, so a slow server is asked less and looks faster than it is."
        }
    }
}

/// Renders the plan.
pub fn plan_facts(plan: &LoadPlan, mode: Option<&str>) -> Markup {
    let model = match plan.model {
        Model::Open { in_flight, start_within } => {
            format!("open: at most {in_flight} requests on their way, dropped after {start_within:?}")
        }
        Model::Closed { clients } => format!("closed: {clients} clients"),
    };
    let stages: Vec<String> = plan.stages.iter().map(ToString::to_string).collect();
    let probe = match plan.probe.rows {
        0 => "off".to_owned(),
        rows => format!("{rows} rows, each written {:?} after it was fresh", plan.probe.pause),
    };
    facts(&[
        ("Preset", plan.preset.unwrap_or("none").to_owned()),
        ("Stages", stages.join(", ")),
        ("Warm-up", if plan.warmup.is_zero() { "none".to_owned() } else { format!("{:?}", plan.warmup) }),
        ("Model", model),
        ("Rows", format!("{}, {}", plan.users, plan.keys)),
        ("Writes", format!("{:.1} %", plan.write_ratio * 100.0)),
        ("Staleness probe", probe),
        ("Seed", plan.seed.to_string()),
        ("Mode", mode.unwrap_or("one after the other").to_owned()),
    ])
}

fn charts(result: &LoadResult) -> Vec<Chart> {
    let at = |of: &dyn Fn(&TimelinePoint) -> Option<f64>| result.timeline.iter().map(of).collect();
    let x: Vec<f64> = result.timeline.iter().map(|point| point.at_s).collect();
    let width = interval_s(&result.timeline);
    let time = |id, title, unit, series| Chart::over_time(id, title, unit, x.clone(), series);
    let mut charts = vec![
        time(
            "rate",
            "Responses a second",
            "",
            vec![
                Series::dashed("wanted", "control", at(&|point| point.rate_wanted)),
                Series::new("achieved", "accent", at(&|point| Some(point.rate))),
            ],
        ),
        time(
            "latency",
            "Latency",
            " ms",
            vec![
                Series::new("p99", "stale", at(&|point| point.p99_ms)),
                Series::new("p50", "accent", at(&|point| point.p50_ms)),
            ],
        ),
        time(
            "stale",
            "Stale reads",
            "",
            vec![Series::new("a second", "stale", at(&|point| Some(point.stale as f64 / width)))],
        ),
        time(
            "hits",
            "Hit ratio",
            " %",
            vec![Series::new("of reads", "accent", at(&|point| point.hit_ratio.map(|ratio| ratio * 100.0)))],
        )
        .up_to(100.0)
        .when_empty("The API does not say where values come from"),
        time(
            "errors",
            "Failed and dropped",
            "",
            vec![
                Series::new("failed", "fail", at(&|point| Some(point.errors as f64))),
                Series::dashed("dropped", "warn", at(&|point| Some(point.dropped as f64))),
            ],
        ),
    ];
    charts.push(Chart::distribution("distribution", &[("all requests", "accent", &result.histogram)]));
    charts
}
