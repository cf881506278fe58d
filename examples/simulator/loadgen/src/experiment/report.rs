//! The experiment as a self-contained HTML file.

use maud::{Markup, html};

use super::outcome::{Compared, ExperimentResult};
use super::summary::value;
use crate::load::LoadResult;
use crate::load::report::chart::{Chart, Series};
use crate::load::report::frame::{Tone, frame, goals, quantiles, verdict};
use crate::load::report::{TimelinePoint, plan_facts};

/// Length of a full bar, in units of the drawing.
const WHOLE: f64 = 1_000.0;

/// Renders the report of one experiment.
pub fn page(result: &ExperimentResult) -> String {
    let (ttl, cdc) = (&result.ttl.result, &result.cdc.result);
    let (tone, title) = headline(result);
    let charts = charts(ttl, cdc);
    let body = html! {
        (verdict(tone, title, &result.verdict))
        @for note in &result.notes { p.note { (note) } }
        section.card {
            h2 { "Side by side" }
            p.small.muted { "The same requests, in the same order, on new rows, first in TTL mode and then in CDC mode." }
            div.compare { @for row in &result.compared { (pair(row)) } }
        }
        section.charts { @for chart in &charts { (chart.figure()) } }
        section.card {
            h2 { "In detail" }
            (quantiles(&[
                ("Latency, ttl", ttl.latency.all),
                ("Latency, cdc", cdc.latency.all),
                ("Time until a read was fresh, ttl", ttl.freshness.windows),
                ("Time until a read was fresh, cdc", cdc.freshness.windows),
            ]))
            @for (mode, side) in [("ttl", ttl), ("cdc", cdc)] {
                @if side.freshness.windows_open > 0 {
                    p.small.muted {
                        (mode) ": " (side.freshness.windows_open)
                        " rows were still stale at the end; they count with the time until then."
                    }
                }
                @if !side.goals.is_empty() { p.small.muted { (goals_in(mode)) } (goals(&side.goals)) }
            }
        }
        section.card { h2 { "What was run" } (plan_facts(&result.plan, None)) }
        section.card { h2 { "How to read this" } (explanation()) }
    };
    frame("ttl against cdc", &result.started_at, &body, &charts)
}

fn goals_in(mode: &str) -> &'static str {
    match mode {
        "ttl" => "Goals in TTL mode (those on staleness decide nothing here: a time to live is stale by design):",
        _ => "Goals in CDC mode:",
    }
}

fn headline(result: &ExperimentResult) -> (Tone, &'static str) {
    let (ttl, cdc) = (&result.ttl.result.freshness, &result.cdc.result.freshness);
    // A busy machine can cause a few stale reads in CDC mode, which does not compare to those of TTL mode.
    let is_rare = cdc.load.stale * 20 < ttl.load.stale;
    match (result.valid, ttl.stale, cdc.late) {
        (false, _, _) => (Tone::Warn, "Measured, with reservations"),
        (true, 0, 0) => (Tone::Plain, "No stale reads in either mode"),
        (true, 0, _) => (Tone::Bad, "Stale reads in CDC mode only"),
        (true, _, 0) => (Tone::Good, "Change capture ends stale reads"),
        (true, _, _) if is_rare => (Tone::Good, "Change capture ends nearly all stale reads"),
        (true, _, _) => (Tone::Bad, "Stale reads in both modes"),
    }
}

/// Renders two bars with their numbers. Only the bars of one row share a scale.
fn pair(row: &Compared) -> Markup {
    let whole = row.ttl.unwrap_or(0.0).max(row.cdc.unwrap_or(0.0));
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
            b.bad[worse && mode == "ttl" && number > row.cdc] { (value(row, number)) }
        }
    };
    html! {
        div.pair {
            div { b { (row.name) } span.small.muted { (row.note) } }
            div.bars { (bar("ttl", row.ttl)) (bar("cdc", row.cdc)) }
        }
    }
}

fn charts(ttl: &LoadResult, cdc: &LoadResult) -> Vec<Chart> {
    let points = ttl.timeline.len().max(cdc.timeline.len());
    let longer = if ttl.timeline.len() == points { &ttl.timeline } else { &cdc.timeline };
    let x: Vec<f64> = longer.iter().map(|point| point.at_s).collect();
    let both = |id, title, unit, of: &dyn Fn(&TimelinePoint) -> Option<f64>| {
        let line = |side: &LoadResult| (0..points).map(|index| side.timeline.get(index).and_then(of)).collect();
        let series = vec![Series::dashed("ttl", "control", line(ttl)), Series::new("cdc", "accent", line(cdc))];
        Chart::over_time(id, title, unit, x.clone(), series)
    };
    vec![
        both("stale", "Stale reads a second", "", &|point| Some(point.stale as f64)),
        both("hits", "Hit ratio", " %", &|point| point.hit_ratio.map(|ratio| ratio * 100.0))
            .up_to(100.0)
            .when_empty("The API does not say where values come from"),
        both("latency", "Latency p99", " ms", &|point| point.p99_ms),
        Chart::distribution("distribution", &[("ttl", "control", &ttl.histogram), ("cdc", "accent", &cdc.histogram)]),
    ]
}

fn explanation() -> Markup {
    html! {
        p {
            "A cache with a time to live (ttl) serves an entry until it expires, whatever happens to the row. With change \
             capture (cdc) each commit removes the entries that it makes wrong, so the next read loads the row again: \
             fewer stale reads, and more loads from the database. Both numbers stand above."
        }
        p.small.muted {
            "A read counts as stale only if it started after a write was answered, and returned a value that this write \
             had replaced for certain. Between a commit and its arrival at the cache lie milliseconds even in CDC mode."
        }
    }
}
