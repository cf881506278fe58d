//! Two measurements side by side: their figures with the differences, and their curves in one drawing.

use loadgen::load::BuiltWith;
use loadgen::record::{Figures, Measurement, RunRecord};
use maud::{Markup, html};

use super::explain::explain;
use super::kept::{mode, origin, profile, title};
use super::plot::{Curve, Plot, Point};
use super::text::millis;
use crate::archive::KeptRun;

/// A measurement, and the run that it is of.
type Side<'a> = (&'a KeptRun, &'a Measurement);

/// A figure that is compared.
struct Figure {
    name: &'static str,
    unit: &'static str,
    /// `None` where neither more nor less is better.
    less_is_better: Option<bool>,
    of: fn(&Figures) -> Option<f64>,
}

const FIGURES: [Figure; 10] = [
    Figure { name: "Stale reads", unit: "", less_is_better: Some(true), of: |of| Some(of.stale as f64) },
    Figure { name: "Stale reads, of those judged", unit: "%", less_is_better: Some(true), of: Figures::stale_percent },
    Figure { name: "Stale at most", unit: "ms", less_is_better: Some(true), of: |of| of.stale_age_max_ms },
    Figure { name: "Longest stale window (probe)", unit: "ms", less_is_better: Some(true), of: |of| of.window_max_ms },
    Figure { name: "Database reads", unit: "/s", less_is_better: Some(true), of: |of| of.database_loads },
    Figure { name: "Hits", unit: "%", less_is_better: Some(false), of: |of| of.hits },
    Figure { name: "Latency p50", unit: "ms", less_is_better: Some(true), of: |of| of.p50_ms },
    Figure { name: "Latency p99", unit: "ms", less_is_better: Some(true), of: |of| of.p99_ms },
    Figure { name: "Requests", unit: "/s", less_is_better: None, of: |of| Some(of.rate) },
    Figure { name: "Failed requests", unit: "", less_is_better: Some(true), of: |of| Some(of.errors as f64) },
];

/// The curves: title, unit, and the column of a record's curve.
const CURVES: [(&str, &str, usize); 3] =
    [("Stale reads a second", "", 1), ("Hits", " %", 2), ("Latency p99", " ms", 4)];

pub(crate) fn compare(first: Side<'_>, second: Side<'_>) -> Markup {
    let names = [first, second].map(|(run, one)| title(run, one));
    html! {
        section.card.kept aria-labelledby="h-compare" data-compare {
            div.hd { h2 #h-compare { "Comparison" } span.grow {} a.btn href="/runs" { "All runs" } }
            (explain("compare"))
            dl.sides-named {
                @for ((letter, class, (run, _)), name) in [("A", "first", first), ("B", "second", second)].into_iter().zip(&names) {
                    div.(class) data-side=(letter) { dt { (letter) }
                        dd { a href=(format!("/runs/{}", run.id)) { (name) } span.m.s { (profile(&run.record)) " · " (origin(&run.record)) } } }
                }
            }
            @for note in reservations(first, second) { p.pad.warn data-note { (note) } }
            (table(&first.1.figures, &second.1.figures))
            div.plots { @for (title, unit, column) in CURVES { (plot(title, unit, column, [first, second])) } }
        }
    }
}

/// Says what else differs between the two, besides what kept the cache.
fn reservations(first: Side<'_>, second: Side<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if std::ptr::eq(first.1, second.1) {
        notes.push("A and B are the same measurement: choose two different ones to see a difference.".to_owned());
    }
    let (one, other) = (&first.0.record, &second.0.record);
    if load_of(one) != load_of(other) {
        notes.push("The loads differ, so the differences are not of the cache alone.".to_owned());
    } else if first.1.seed != second.1.seed {
        notes.push("The seeds differ: other rows were asked for, in another order.".to_owned());
    }
    if one.source != other.source {
        notes.push("The changes came from different sources.".to_owned());
    }
    notes.extend(built_apart(first, second).map(str::to_owned));
    for (letter, (run, measurement)) in [("A", first), ("B", second)] {
        let unexpired = run.record.unexpired_ttls();
        if measurement.ttl_ms.is_some_and(|ttl_ms| unexpired.contains(&ttl_ms)) {
            let length = run.record.seconds.round();
            notes.push(format!("{letter}: nothing expired by its TTL within the {length} s of the measurement."));
        }
        if measurement.stopped {
            notes.push(format!("{letter} was stopped early, so its numbers of reads are those of a shorter time."));
        }
        if measurement.figures.dropped > 0 {
            let dropped = measurement.figures.dropped;
            notes.push(format!(
                "{letter}: {dropped} requests could not be sent in time, so its latencies are those of a lower rate."
            ));
        }
    }
    notes
}

/// Says if the caches were built differently. Their TTL matters in CDC mode only: elsewhere a measurement has its own.
fn built_apart(first: Side<'_>, second: Side<'_>) -> Option<&'static str> {
    let has_ttl = first.1.ttl_ms.is_some() || second.1.ttl_ms.is_some();
    let built = |(run, _): Side<'_>| {
        run.record.caches.map(|caches| BuiltWith { ttl_ms: caches.ttl_ms.filter(|_| !has_ttl), ..caches })
    };
    match (built(first), built(second)) {
        (Some(one), Some(other)) if one != other => Some("The caches were built with different options."),
        (Some(_), None) | (None, Some(_)) => Some("It is known of one of the two only how the caches were built."),
        _ => None,
    }
}

fn load_of(record: &RunRecord) -> (Option<&str>, Option<u64>, u64, usize, u64) {
    let bits = |value: f64| value.to_bits();
    (record.preset.as_deref(), record.rate.map(bits), bits(record.seconds), record.users, bits(record.write_ratio))
}

fn table(first: &Figures, second: &Figures) -> Markup {
    html! {
        table.compared {
            thead { tr { th scope="col" { "figure" } th scope="col" { "A" } th scope="col" { "B" } th scope="col" { "B − A" } th scope="col" { "relative to A" } } }
            tbody {
                @for figure in &FIGURES {
                    @let (a, b) = ((figure.of)(first), (figure.of)(second));
                    tr data-figure=(figure.name) {
                        th scope="row" { (figure.name) }
                        td data-l="A" { (shown(a, figure.unit)) }
                        td data-l="B" { (shown(b, figure.unit)) }
                        td data-l="B − A" { (difference(a, b, figure)) }
                        td data-l="relative to A" { (relative(a, b)) }
                    }
                }
            }
        }
    }
}

fn shown(value: Option<f64>, unit: &str) -> String {
    match (value, unit) {
        (None, _) => "not measured".to_owned(),
        (Some(value), "ms") => millis(value),
        (Some(value), "%") => format!("{value:.2} %"),
        (Some(value), "/s") => format!("{value:.1}/s"),
        (Some(value), _) => format!("{value:.0}"),
    }
}

/// Formats how far two values are apart: two shares by percentage points, which are no percent of anything.
fn apart(by: f64, unit: &str) -> String {
    match unit {
        "%" => format!("{by:.2} percentage points"),
        unit => shown(Some(by), unit),
    }
}

fn difference(a: Option<f64>, b: Option<f64>, figure: &Figure) -> Markup {
    let (Some(a), Some(b)) = (a, b) else { return html! { "–" } };
    let by = b - a;
    let text = match by {
        _ if by == 0.0 => "none".to_owned(),
        _ => format!("{}{}", if by > 0.0 { "+" } else { "−" }, apart(by.abs(), figure.unit)),
    };
    let is_better = figure.less_is_better.map(|less| (by < 0.0) == less).filter(|_| by != 0.0);
    html! { (text) @match is_better { Some(true) => span.m.s { " better" }, Some(false) => span.m.s { " worse" }, None => {} } }
}

/// Formats how much larger `b` is than `a`; nothing can be said relative to zero.
fn relative(a: Option<f64>, b: Option<f64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a == b => "0 %".to_owned(),
        (Some(a), Some(b)) if a != 0.0 => {
            let percent = (b - a) / a * 100.0;
            let sign = if percent < 0.0 { "−" } else { "+" };
            format!("{sign}{:.1} %", percent.abs())
        }
        (Some(_), Some(_)) => "A is zero".to_owned(),
        _ => "–".to_owned(),
    }
}

fn plot(name: &str, unit: &str, column: usize, sides: [Side<'_>; 2]) -> Markup {
    let curve = |(letter, class, (_, one)): (&str, &'static str, Side<'_>)| Curve {
        label: format!("{letter}: {}", mode(one)),
        class,
        points: one.curve.iter().filter_map(|row| Some(Point { x: row[0]?, y: row[column], spread: None })).collect(),
    };
    let [first, second] = sides;
    let curves: Vec<Curve> = [("A", "first", first), ("B", "second", second)].into_iter().map(curve).collect();
    let end = curves.iter().flat_map(|curve| &curve.points).map(|point| point.x).fold(0.0, f64::max);
    let ticks = [0.0, end / 2.0, end].into_iter().map(|x| (x, format!("{} s", (x * 10.0).round() / 10.0))).collect();
    Plot { title: name, unit, ticks, is_log: false, curves }.figure()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn run(caches: &Value) -> KeptRun {
        let record = json!({
            "schema": "cachefront-simulator-run", "schema_version": 1, "kind": "sweep", "at": "2026-01-31T12:00:00Z",
            "source": "kafka", "caches": caches, "preset": null, "rate": null, "seconds": 1.0, "users": 1,
            "write_ratio": 0.0, "grace_ms": 1.0, "verdict": "", "notes": [], "measurements": [],
        });
        let record = serde_json::from_value(record).expect("a record");
        KeptRun { id: "1-sweep".into(), record: Arc::new(record), is_written: true }
    }

    fn measurement(ttl_ms: Option<u64>) -> Measurement {
        let figures = json!({ "rate": 1.0, "judged": 1, "stale": 0, "stale_late": 0, "errors": 0, "dropped": 0 });
        let mode = if ttl_ms.is_some() { "ttl" } else { "cdc" };
        let one =
            json!({ "mode": mode, "ttl_ms": ttl_ms, "seed": 42, "stopped": false, "figures": figures, "curve": [] });
        serde_json::from_value(one).expect("a measurement")
    }

    #[test]
    fn caches_that_were_built_differently_are_named() {
        let built = |ttl_ms: u64, fenced: bool| {
            run(&json!({ "ttl_ms": ttl_ms, "fenced": fenced, "refresh_in_place": false, "stale_if_error_ms": 0 }))
        };
        let (plain, fenced, longer, unknown) = (built(1, false), built(1, true), built(2, false), run(&Value::Null));
        let (by_age, by_log) = (measurement(Some(50)), measurement(None));
        let notes = |first, second| reservations(first, second).join(" ");
        assert!(notes((&plain, &by_age), (&fenced, &by_log)).contains("different options"));
        assert!(notes((&plain, &by_log), (&longer, &by_log)).contains("different options"));
        assert_eq!(notes((&plain, &by_age), (&longer, &by_log)), "", "each measurement by age has its own TTL");
        assert!(notes((&plain, &by_age), (&unknown, &by_log)).contains("of one of the two only"));
        assert_eq!(notes((&unknown, &by_age), (&unknown, &by_log)), "");
    }

    #[test]
    fn differences_have_a_sign_and_nothing_is_relative_to_zero() {
        assert_eq!(relative(Some(50.0), Some(25.0)), "−50.0 %");
        assert_eq!(relative(Some(2.0), Some(3.0)), "+50.0 %");
        assert_eq!((relative(Some(0.0), Some(3.0)), relative(None, Some(3.0))), ("A is zero".into(), "–".into()));
        assert_eq!(relative(Some(0.0), Some(0.0)), "0 %");
        let stale = &FIGURES[0];
        assert_eq!(difference(Some(9.0), Some(2.0), stale).into_string(), "−7<span class=\"m s\"> better</span>");
        let hits = &FIGURES[5];
        assert_eq!(
            difference(Some(9.0), Some(2.0), hits).into_string(),
            "−7.00 percentage points<span class=\"m s\"> worse</span>"
        );
        assert_eq!(difference(Some(2.0), Some(2.0), hits).into_string(), "none");
    }
}
