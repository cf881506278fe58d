//! The kept runs: the list, from which two measurements are chosen, and one run.

use loadgen::load::lifetime;
use loadgen::record::{Measurement, RunKind, RunRecord};
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
                    h2 #h-kept { "Kept runs" } span.m.s.full { (listing.runs.iter().filter(|run| run.is_written).count()) " in the data folder, the newest first" } span.grow {}
                    @if !listing.runs.is_empty() { button.btn.lg.pri type="submit" { "Compare A with B" } }
                }
                (explain("kept"))
                @if let Some(trouble) = &listing.trouble { p.pad.fail data-trouble { (trouble) } }
                @for damaged in &listing.damaged { (broken(context, damaged)) }
                @if listing.runs.is_empty() {
                    div.empty data-empty="runs" { p { b { "No run is kept yet." } }
                        p.m { "Every load, A/B run and sweep of this panel that has ended is kept here. Start a load or an A/B run on the " a href="/" { "first page" } "." } }
                }
                @let chosen = chosen(&listing.runs);
                ol.kept-runs { @for run in &listing.runs { (entry(context, run, chosen)) } }
            }
        }
    }
}

pub(crate) fn missing(why: &str) -> Markup {
    html! {
        section.card aria-labelledby="h-missing" {
            div.empty data-empty="run" { h2 #h-missing { (why) } p.m { "It was deleted, it was the oldest beyond the bounds, or the address is not of a run." }
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

/// Says where a run's changes came from, and how the caches were built that it read through.
pub(super) fn origin(record: &RunRecord) -> String {
    let caches = record.caches_in_words().unwrap_or_else(|| "not known".to_owned());
    format!("source {} · caches: {caches}", record.source)
}

/// Marks a run that is in memory only.
fn unwritten(run: &KeptRun) -> Markup {
    html! { @if !run.is_written { span.warn data-unwritten title="It could not be written to the data folder: export it before the program ends" { "in memory only" } } }
}

fn entry(context: &PageContext<'_>, run: &KeptRun, chosen: Chosen<'_>) -> Markup {
    let record = &run.record;
    let name = format!("{} of {}", kind_in_words(record.kind), moment(&record.at));
    html! {
        li data-run=(run.id) data-kind=(record.kind.as_str()) {
            div.row.kept-row {
                a.b href=(format!("/runs/{}", run.id)) { (name) }
                span.m.s { (profile(record)) " · " (origin(record)) }
                (unwritten(run))
                span.grow {}
                (delete(context, &run.id, &name))
            }
            @if record.kind == RunKind::Sweep {
                p.s.sentence { (record.verdict) }
                details { summary { (record.measurements.len()) " measurements" } (measurements(run, chosen)) }
            } @else { (measurements(run, chosen)) }
        }
    }
}

/// The measurements that are chosen at first, by the ids of their runs and their numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Chosen<'a> {
    a: Option<(&'a str, usize)>,
    b: Option<(&'a str, usize)>,
}

/// Chooses the first measurement of the newest run as A. B is another one that asked for the same rows, with A's seed: the last one of
/// the same run, or the first one of the run before. Without any, the first of these with another seed.
fn chosen(runs: &[KeptRun]) -> Chosen<'_> {
    let Some((newest, first)) = runs.first().and_then(|run| Some((run, run.record.measurements.first()?))) else {
        return Chosen { a: None, b: None };
    };
    let own = newest.record.measurements.iter().enumerate().skip(1).rev().map(|(number, one)| (newest, number, one));
    let before = runs
        .get(1)
        .into_iter()
        .flat_map(|run| run.record.measurements.iter().enumerate().map(move |(number, one)| (run, number, one)));
    let others: Vec<(&KeptRun, usize, &Measurement)> = own.chain(before).collect();
    let b = others.iter().find(|(_, _, one)| one.seed == first.seed).or(others.first());
    Chosen { a: Some((newest.id.as_str(), 0)), b: b.map(|(run, number, _)| (run.id.as_str(), *number)) }
}

fn measurements(run: &KeptRun, chosen: Chosen<'_>) -> Markup {
    let radio = |group: &'static str, number: usize, name: &str| {
        let label = format!("{}: {name}", group.to_uppercase());
        let value = format!("{}.{number}", run.id);
        let is_chosen = (if group == "a" { chosen.a } else { chosen.b }) == Some((run.id.as_str(), number));
        html! {
            label.pick title=(label) { input type="radio" name=(group) value=(value) checked[is_chosen] required aria-label=(label); span aria-hidden="true" { (group.to_uppercase()) } }
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
            p.pad.m.s { (profile(record)) " · " (origin(record)) } @if !run.is_written { p.pad { (unwritten(run)) } }
            @for note in &record.notes { p.pad.warn data-note { (note) } }
            @if record.kind == RunKind::Sweep { (sweep::curves(record)) }
            form.pad.of-run method="get" action="/runs/compare" {
                (measurements(run, chosen(std::slice::from_ref(run))))
                @if record.measurements.len() > 1 { button.btn.lg type="submit" { "Compare A with B" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loadgen::load::BuiltWith;
    use loadgen::record::{Figures, SCHEMA, VERSION};

    use super::*;

    fn run(id: &str, seeds: &[u64]) -> KeptRun {
        let figures = Figures {
            rate: 1.0,
            judged: 1,
            stale: 0,
            stale_late: 0,
            stale_age_max_ms: None,
            window_max_ms: None,
            database_loads: None,
            hits: None,
            p50_ms: None,
            p99_ms: None,
            errors: 0,
            dropped: 0,
        };
        let measurement = |seed: &u64| Measurement {
            mode: Some("cdc".into()),
            ttl_ms: None,
            seed: *seed,
            stopped: false,
            figures: figures.clone(),
            curve: Vec::new(),
        };
        let record = RunRecord {
            schema: SCHEMA.into(),
            schema_version: VERSION,
            kind: RunKind::Sweep,
            at: "2026-01-31T12:00:00Z".into(),
            source: "kafka".into(),
            caches: None,
            preset: None,
            rate: None,
            seconds: 1.0,
            users: 1,
            write_ratio: 0.0,
            grace_ms: 1.0,
            verdict: String::new(),
            notes: Vec::new(),
            measurements: seeds.iter().map(measurement).collect(),
        };
        KeptRun { id: id.into(), record: Arc::new(record), is_written: true }
    }

    #[test]
    fn two_measurements_with_the_same_seed_are_chosen() {
        let of = |runs: &[KeptRun]| {
            let Chosen { a, b } = chosen(runs);
            (a.map(|(id, number)| format!("{id}.{number}")), b.map(|(id, number)| format!("{id}.{number}")))
        };
        let both = |a: &str, b: &str| (Some(a.to_owned()), Some(b.to_owned()));
        // A sweep: two TTLs with two seeds each, and CDC mode.
        let sweep = || run("2-sweep", &[42, 42, 43, 43, 42, 43]);
        assert_eq!(of(&[sweep()]), both("2-sweep.0", "2-sweep.4"));
        assert_eq!(of(&[sweep(), run("1-load", &[42])]), both("2-sweep.0", "2-sweep.4"), "one B only");
        assert_eq!(of(&[run("3-load", &[43]), sweep()]), both("3-load.0", "2-sweep.2"));
        assert_eq!(of(&[run("3-load", &[7]), sweep()]), both("3-load.0", "2-sweep.0"), "none has the seed");
        assert_eq!(of(&[run("3-load", &[7])]), (Some("3-load.0".into()), None));
        assert_eq!(of(&[]), (None, None));
    }

    #[test]
    fn a_run_says_how_the_caches_were_built() {
        let mut record = RunRecord::clone(&run("1-load", &[42]).record);
        assert_eq!(origin(&record), "source kafka · caches: not known");
        record.caches =
            Some(BuiltWith { ttl_ms: Some(2_000), fenced: true, refresh_in_place: false, stale_if_error_ms: 0 });
        assert_eq!(origin(&record), "source kafka · caches: TTL 2 s, fenced loads");
    }
}
