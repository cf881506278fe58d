//! The experiment as a self-contained HTML file.

use maud::{Markup, html};

use super::options::options;
use super::outcome::{Compared, ExperimentResult};
use super::summary::value;
use crate::load::LoadResult;
use crate::load::outcome::interval_s;
use crate::load::report::chart::{Chart, Series};
use crate::load::report::frame::{Tone, frame, goals, quantiles, verdict};
use crate::load::report::{TimelinePoint, plan_facts};

/// Length of a full bar, in units of the drawing.
const WHOLE: f64 = 1_000.0;

/// Renders the report of one experiment.
pub fn page(result: &ExperimentResult) -> String {
    let sides = sides(result);
    let (tone, title) = headline(result);
    let charts = charts(&sides);
    let latencies = sides.map(|(name, side)| (latency_of(name), side.latency.all));
    let windows = sides.map(|(name, side)| (window_of(name), side.freshness.windows));
    let body = html! {
        (verdict(tone, title, &result.verdict))
        @for note in &result.notes { p.note { (note) } }
        section.card {
            h2 { "Side by side" }
            p.small.muted { "The same requests, in the same order, on new rows: in TTL mode, in TTL mode with stale-while-revalidate (swr), and in CDC mode." }
            div.compare { @for row in &result.compared { (pair(row)) } }
        }
        section.charts { @for chart in &charts { (chart.figure()) } }
        section.card {
            h2 { "In detail" }
            (quantiles(&[latencies, windows].concat()))
            @for (mode, side) in sides {
                @if side.freshness.windows_open > 0 {
                    p.small.muted {
                        (mode) ": " (side.freshness.windows_open)
                        " rows were still stale at the end; they count with the time until then."
                    }
                }
                @if !side.goals.is_empty() { p.small.muted { (goals_in(mode)) } (goals(&side.goals)) }
            }
        }
        section.card {
            h2 { "What was run" }
            (plan_facts(&result.plan, None))
            @if let Some(caches) = &result.caches { p.small.muted data-caches { "Caches built with: " (options(caches)) "." } }
        }
        section.card { h2 { "How to read this" } (explanation()) }
    };
    frame("ttl, ttl with stale-while-revalidate, cdc", &result.started_at, &body, &charts)
}

/// Returns the sides by name, in the order in which they ran.
fn sides(result: &ExperimentResult) -> [(&'static str, &LoadResult); 3] {
    [("ttl", &result.ttl.result), ("swr", &result.swr.result), ("cdc", &result.cdc.result)]
}

fn latency_of(side: &str) -> &'static str {
    match side {
        "ttl" => "Latency, ttl",
        "swr" => "Latency, ttl with swr",
        _ => "Latency, cdc",
    }
}

fn window_of(side: &str) -> &'static str {
    match side {
        "ttl" => "Time until a read was fresh, ttl",
        "swr" => "Time until a read was fresh, ttl with swr",
        _ => "Time until a read was fresh, cdc",
    }
}

fn goals_in(mode: &str) -> &'static str {
    match mode {
        "ttl" | "swr" => {
            "Goals in TTL mode (those on staleness decide nothing here: a time to live is stale by design):"
        }
        _ => "Goals in CDC mode:",
    }
}

fn headline(result: &ExperimentResult) -> (Tone, &'static str) {
    let (ttl, cdc) = (&result.ttl.result.freshness, &result.cdc.result.freshness);
    // A busy machine can cause a few stale reads in CDC mode, which does not compare to those of TTL mode.
    let is_rare = cdc.load.stale * 20 < ttl.load.stale;
    match (result.valid, ttl.load.stale, cdc.load.late + cdc.probe.late) {
        (false, _, _) => (Tone::Warn, "Measured, with reservations"),
        (true, 0, 0) => (Tone::Plain, "No stale reads in either mode"),
        (true, 0, _) => (Tone::Bad, "Stale reads in CDC mode only"),
        (true, _, 0) => (Tone::Good, "Change capture ends stale reads"),
        (true, _, _) if is_rare => (Tone::Good, "Change capture ends nearly all stale reads"),
        (true, _, _) => (Tone::Bad, "Stale reads in both modes"),
    }
}

/// Renders a bar for each side with their numbers. Only the bars of one row share a scale.
fn pair(row: &Compared) -> Markup {
    let whole = [row.ttl, row.swr, row.cdc].into_iter().flatten().fold(0.0, f64::max);
    let whole = if row.unit == "%" { 100.0 } else { whole };
    let width = |value: Option<f64>| match value {
        Some(value) if whole > 0.0 && value > 0.0 => (value / whole * WHOLE).max(4.0),
        _ => 0.0,
    };
    let worse = row.less_is_better && row.name.contains("tale");
    let bar = |mode: &'static str, number: Option<f64>| {
        html! {
            span { (mode) }
            svg viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true" {
                rect.(mode) x="0" y="0" height="12" width=(format!("{:.0}", width(number))) {}
            }
            b.bad[worse && mode != "cdc" && number > row.cdc] { (value(row, number)) }
        }
    };
    html! {
        div.pair {
            div { b { (row.name) } span.small.muted { (row.note) } }
            div.bars { (bar("ttl", row.ttl)) (bar("swr", row.swr)) (bar("cdc", row.cdc)) }
        }
    }
}

fn charts(sides: &[(&'static str, &LoadResult); 3]) -> Vec<Chart> {
    let timelines = sides.map(|(_, side)| &side.timeline);
    let longest = timelines.into_iter().max_by_key(|timeline| timeline.len());
    let width = longest.map_or(1.0, |timeline| interval_s(timeline.as_slice()));
    let x: Vec<f64> = longest.into_iter().flatten().map(|point| point.at_s).collect();
    let points = x.len();
    let each = |id, title, unit, of: &dyn Fn(&TimelinePoint) -> Option<f64>| {
        let line = |(name, side): (&'static str, &LoadResult)| {
            let values = (0..points).map(|index| side.timeline.get(index).and_then(of)).collect();
            if name == "ttl" {
                Series::dashed(name, colour(name), values)
            } else {
                Series::new(name, colour(name), values)
            }
        };
        Chart::over_time(id, title, unit, x.clone(), sides.map(line).into())
    };
    vec![
        each("stale", "Stale reads a second", "", &|point| Some(point.stale as f64 / width)),
        each("hits", "Hit ratio", " %", &|point| point.hit_ratio.map(|ratio| ratio * 100.0))
            .up_to(100.0)
            .when_empty("The API does not say where values come from"),
        each("latency", "Latency p99", " ms", &|point| point.p99_ms),
        Chart::distribution("distribution", &sides.map(|(name, side)| (name, colour(name), &*side.histogram))),
    ]
}

fn colour(side: &str) -> &'static str {
    match side {
        "ttl" => "control",
        "swr" => "warn",
        _ => "accent",
    }
}

fn explanation() -> Markup {
    html! {
        p {
            "A cache with a time to live (ttl) serves an entry until it expires, whatever happens to the row. With \
             stale-while-revalidate (swr) it serves the entry for as long again while one reader loads it in the background: no \
             reader waits, and values may be older. With change \
             capture (cdc) each commit removes the entries that it makes wrong, so the next read loads the row again: \
             fewer stale reads, and more loads from the database. Both numbers stand above."
        }
        p.small.muted {
            "A read counts as stale only if it started after a write was answered, and returned a value that this write \
             had replaced for certain. Between a commit and its arrival at the cache lie milliseconds even in CDC mode."
        }
    }
}
