//! The kept runs: the list, from which two measurements are chosen, and one run.

use loadgen::record::{Measurement, RunKind, RunRecord};
use loadgen::sweep::outcome::lifetime;
use maud::{Markup, html};

use super::context::PageContext;
use super::explain::explain;
use super::icon::icon;
use super::sweep;
use super::text::{grouped, millis};
use crate::archive::{Damaged, KeptRun, Listing, kind_in_words};

/// Renders the list, below the sweep.
pub(crate) fn index(context: &PageContext<'_>, listing: &Listing) -> Markup {
    html! {
        section.card aria-labelledby="h-sweep" {
            div data-part="sweep" { (sweep::sweep(context)) }
            (explain("sweep"))
        }
        section.card.kept aria-labelledby="h-kept" {
            form method="get" action="/runs/compare" {
                div.hd.kept-head {
                    h2 #h-kept { "Kept runs" } span.m.s.full { (listing.runs.len()) " in the data folder, the newest first" } span.grow {}
                    @if !listing.runs.is_empty() { button.btn.lg.pri type="submit" { "Compare A with B" } }
                }
                (explain("kept"))
                @if let Some(trouble) = &listing.trouble { p.pad.fail data-trouble { (trouble) } }
                @for damaged in &listing.damaged { (broken(context, damaged)) }
                @if listing.runs.is_empty() {
                    div.empty data-empty="runs" { p { b { "No run is kept yet." } }
                        p.m { "Every load, A/B run and sweep of this panel that has ended is kept here. Start a load or an A/B run on the " a href="/" { "first page" } "." } }
                }
                ol.kept-runs { @for (at, run) in listing.runs.iter().enumerate() { (entry(context, run, at)) } }
            }
        }
    }
}

pub(crate) fn missing(why: &str) -> Markup {
    html! {
        section.card aria-labelledby="h-missing" {
            div.empty data-empty="run" { h2 #h-missing { (why) } p.m { "It may have been deleted, or been the oldest beyond the bounds." }
                a.btn href="/runs" { "All runs" } }
        }
    }
}

fn broken(context: &PageContext<'_>, damaged: &Damaged) -> Markup {
    html! {
        div.pad.row.broken data-damaged=(damaged.id) {
            span.bad { (icon("tri")) }
            span { "The file " span.mono { (damaged.file.display().to_string()) } " is not shown: " (damaged.why) ". Put a whole copy in its place, or delete it." }
            span.grow {}
            (delete(context, &damaged.id, "this damaged file"))
        }
    }
}

fn delete(context: &PageContext<'_>, id: &str, what: &str) -> Markup {
    html! {
        button.btn.q.danger type="button" data-ask="Delete this run?" data-text="Its file is removed from the data folder for good."
            data-yes="Delete" data-action=(format!("/runs/{id}/delete")) data-body="" data-then="/runs"
            disabled[!context.operates()] title=[context.reason()] aria-label=(format!("Delete {what}")) { "Delete" }
    }
}

/// Formats a time to the second.
fn moment(at: &str) -> String {
    let (seconds, _) = at.split_once('.').unwrap_or((at.trim_end_matches('Z'), ""));
    format!("{} UTC", seconds.replace('T', " "))
}

/// The load of a run in a few words.
pub(super) fn profile(record: &RunRecord) -> String {
    let preset = record.preset.as_deref().unwrap_or("a plan of its own");
    let rate = record.rate.map(|rate| format!(" at {rate}/s")).unwrap_or_default();
    format!(
        "{preset}{rate}, {} s each, {} rows, {:.0} % writes",
        record.seconds.round(),
        grouped(record.users as u64),
        record.write_ratio * 100.0
    )
}

/// Names what kept the cache in a measurement: `TTL 30 s`, `CDC`.
pub(super) fn mode(measurement: &Measurement) -> String {
    let ttl = measurement.ttl_ms.map(|ttl_ms| format!(" {}", lifetime(ttl_ms))).unwrap_or_default();
    match measurement.mode.as_deref() {
        Some("ttl") => format!("TTL{ttl}"),
        Some("swr") => format!("TTL{ttl} with revalidation"),
        Some("cdc") => "CDC".to_owned(),
        _ => "mode not known".to_owned(),
    }
}

/// Names a measurement where others are next to it.
pub(super) fn title(run: &KeptRun, measurement: &Measurement) -> String {
    let (kind, at) = (kind_in_words(run.record.kind), moment(&run.record.at));
    format!("{}, {kind} of {at}, seed {}", mode(measurement), measurement.seed)
}

fn entry(context: &PageContext<'_>, run: &KeptRun, at: usize) -> Markup {
    let record = &run.record;
    let name = format!("{} of {}", kind_in_words(record.kind), moment(&record.at));
    html! {
        li data-run=(run.id) data-kind=(record.kind.as_str()) {
            div.row.kept-row {
                a.b href=(format!("/runs/{}", run.id)) { (name) }
                span.m.s { (profile(record)) " · source " (record.source) }
                span.grow {}
                (delete(context, &run.id, &name))
            }
            @if record.kind == RunKind::Sweep {
                p.s.sentence { (record.verdict) }
                details { summary { (record.measurements.len()) " measurements" } (measurements(run, at)) }
            } @else { (measurements(run, at)) }
        }
    }
}

/// Returns true for the measurements that are chosen at first: the first one of the newest run as A, and as B its last one, or the first
/// one of the run before if it has no other.
fn is_chosen(run: &KeptRun, at: usize, number: usize, group: &str) -> bool {
    let count = run.record.measurements.len();
    match group {
        "a" => at == 0 && number == 0,
        _ => (at == 0 && count > 1 && number + 1 == count) || (at == 1 && number == 0),
    }
}

fn measurements(run: &KeptRun, at: usize) -> Markup {
    let radio = |group: &'static str, number: usize, name: &str| {
        let label = format!("{}: {name}", group.to_uppercase());
        let value = format!("{}.{number}", run.id);
        html! {
            label.pick title=(label) { input type="radio" name=(group) value=(value) checked[is_chosen(run, at, number, group)] required aria-label=(label); span aria-hidden="true" { (group.to_uppercase()) } }
        }
    };
    html! {
        table.measured {
            thead { tr { th.picks scope="col" { "compare" } th.what scope="col" { "mode" } (heads()) } }
            tbody {
                @for (number, one) in run.record.measurements.iter().enumerate() {
                    @let name = title(run, one);
                    tr data-mode=[one.mode.as_deref()] {
                        td.picks { (radio("a", number, &name)) (radio("b", number, &name)) }
                        td.what data-l="mode" { b { (mode(one)) } span.m.s { " seed " (one.seed) @if one.stopped { ", stopped early" } } }
                        (cells(one))
                    }
                }
            }
        }
    }
}

fn heads() -> Markup {
    html! {
        th scope="col" { "stale reads" } th scope="col" { "stale at most" } th scope="col" { "database reads" }
        th scope="col" { "hits" } th scope="col" { "p50" } th scope="col" { "p99" }
    }
}

fn cells(one: &Measurement) -> Markup {
    let figures = &one.figures;
    let time = |value: Option<f64>| value.map_or("–".to_owned(), millis);
    html! {
        td data-l="stale reads" { (grouped(figures.stale)) " " span.m.s { "of " (grouped(figures.judged)) } }
        td data-l="stale at most" { (time(figures.stale_age_max_ms)) }
        td data-l="database reads" { (figures.database_loads.map_or("–".to_owned(), |loads| format!("{loads:.1}/s"))) }
        td data-l="hits" { (figures.hits.map_or("–".to_owned(), |hits| format!("{hits:.1} %"))) }
        td data-l="p50" { (time(figures.p50_ms)) }
        td data-l="p99" { (time(figures.p99_ms)) }
    }
}

/// Renders one run.
pub(crate) fn one(context: &PageContext<'_>, run: &KeptRun) -> Markup {
    let record = &run.record;
    html! {
        section.card.kept aria-labelledby="h-run" data-run=(run.id) {
            div.hd {
                h2 #h-run { (kind_in_words(record.kind)) " of " (moment(&record.at)) } span.grow {}
                a.btn.q href=(format!("/runs/{}/json", run.id)) download { "JSON" }
                (delete(context, &run.id, "this run"))
                a.btn href="/runs" { "All runs" }
            }
            p.pad.sentence { (record.verdict) }
            p.pad.m.s { (profile(record)) " · source " (record.source) }
            @for note in &record.notes { p.pad.warn data-note { (note) } }
            @if record.kind == RunKind::Sweep { (sweep::curves(record)) }
            form.pad.of-run method="get" action="/runs/compare" {
                (measurements(run, 0))
                @if record.measurements.len() > 1 { button.btn.lg type="submit" { "Compare A with B" } }
            }
        }
    }
}
