//! The contents of the export. A change that programs have to know of raises [`VERSION`].

use cachefront::OnLag;
use loadgen::record::RunRecord;
use serde_json::{Map, Value, json};
use simulator_model::domain::rfc3339;
use simulator_model::writes::WRITES_MAX;

use crate::activity::{ActivityEntry, What};
use crate::archive::{KeptRun, Listing};
use crate::panel::Panel;
use crate::past::PastMoment;

/// The name and the version of the file's form.
const SCHEMA: &str = "cachefront-simulator-export";
const VERSION: u32 = 1;

/// Maximum number of kept runs in the file, the newest ones: with 20 KB for a sweep, they take at most a quarter of it.
const RUNS_MAX: usize = 50;

/// The whole file.
#[derive(Debug)]
pub(super) struct Document {
    /// Everything but the events.
    facts: Map<String, Value>,
    /// The oldest first.
    events: Vec<Value>,
}

impl Document {
    /// Collects what is known now.
    pub(super) fn of(panel: &Panel, kept: &Listing) -> Self {
        let (api, moment) = (&panel.api, panel.live.current());
        let mut events: Vec<Value> = panel.live.chronicle.latest(usize::MAX).iter().map(event).collect();
        events.reverse();
        let facts = [
            ("schema", json!(SCHEMA)),
            ("schema_version", json!(VERSION)),
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("exported_at", json!(rfc3339(api.pipeline.clock.now()))),
            ("settings", settings(panel)),
            ("mode", json!(api.modes.current())),
            ("faults", json!(api.faults.current())),
            ("pipeline", json!(moment.pipeline)),
            // One a second, the oldest first, while the panel was open.
            ("verdicts", panel.live.past.all().iter().map(verdict).collect()),
            // Samples and marks, in the form in which the panel keeps them.
            ("charts", json!(panel.live.gauges.history())),
            // Hop by hop, the newest first.
            ("writes", json!(api.writes.latest(WRITES_MAX))),
            ("runs", runs(panel, kept)),
        ];
        Self { facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), events }
    }

    /// Returns the text of the file, without the oldest events if it would be larger than `bytes_max`; `None` if it is too large
    /// without any event.
    pub(super) fn within(self, bytes_max: usize) -> Option<String> {
        let Self { mut facts, mut events } = self;
        let mut left_out = 0;
        loop {
            facts.insert("events".into(), json!(events));
            facts.insert("events_left_out".into(), json!(left_out));
            let text = serde_json::to_string(&facts).ok()?;
            if text.len() <= bytes_max {
                return Some(text);
            }
            let less = events.len().div_ceil(2);
            if less == 0 {
                return None;
            }
            events.drain(..less);
            left_out += less;
        }
    }
}

/// The settings that say how the caches behave. No address, name or password is among them.
fn settings(panel: &Panel) -> Value {
    let pipeline = &panel.api.pipeline;
    let on_lag = match pipeline.freshness.on_lag {
        OnLag::Bypass => json!("bypass"),
        OnLag::Serve => json!("serve"),
        OnLag::ShortenTtl(age) => json!({ "shorten_ttl_ms": age.as_millis() as u64 }),
        _ => Value::Null,
    };
    json!({
        "embedded": pipeline.embedded,
        "source": pipeline.source,
        "servers": panel.api.servers.count(),
        "ttl_ms": panel.ttl.as_millis() as u64,
        "freshness_objective_ms": pipeline.freshness.objective.as_millis() as u64,
        "on_lag": on_lag,
        "built_with": pipeline.built_with,
        "api_in_flight": panel.api.in_flight_max,
        "read_only": panel.read_only,
    })
}

fn verdict(record: &PastMoment) -> Value {
    let PastMoment { at, mode, verdict, faults } = record;
    json!({
        "at": rfc3339(*at),
        "mode": mode,
        "verdict": verdict.word.as_str(),
        "words": verdict.words,
        "cause": verdict.cause,
        "compared": verdict.compared,
        "stale": verdict.stale,
        "complete": verdict.complete,
        "oldest_ms": verdict.oldest.map(|oldest| oldest.as_millis() as u64),
        "faults": faults,
    })
}

fn event(entry: &ActivityEntry) -> Value {
    let what = match &entry.what {
        What::Change { op, keys, position, lag_ms, applied } => {
            json!({ "change": { "op": op, "keys": keys, "position": position, "lag_ms": lag_ms, "applied": applied } })
        }
        What::Mode { mode, version } => json!({ "mode": { "mode": mode, "version": version } }),
        What::Fault { words, on } => json!({ "fault": { "name": words, "on": on } }),
        What::Pressed(words) => json!({ "button": words }),
    };
    json!({ "number": entry.number, "at": rfc3339(entry.at), "what": what })
}

/// The last results. The reports of the experiment have downloads of their own.
fn runs(panel: &Panel, kept: &Listing) -> Value {
    let (load, experiment) = (panel.runs.results.load(), panel.runs.results.experiment());
    let experiment = experiment.as_deref().map(|kept| {
        json!({
            "about": kept.about,
            "verdict": kept.verdict,
            "notes": kept.notes,
            "caches": kept.caches,
            "pairs": kept.pairs,
        })
    });
    let left_out = kept.runs.len().saturating_sub(RUNS_MAX);
    json!({
        "load": load.as_deref(),
        "experiment": experiment,
        "kept": kept.runs.iter().take(RUNS_MAX).map(figures).collect::<Vec<_>>(),
        "kept_left_out": left_out,
    })
}

/// A kept run without the curves of its measurements, which are most of its size.
fn figures(run: &KeptRun) -> Value {
    let mut record = RunRecord::clone(&run.record);
    record.measurements.iter_mut().for_each(|one| one.curve.clear());
    json!({ "id": run.id, "record": record })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(events: usize) -> Document {
        let facts = [("schema".to_owned(), json!(SCHEMA))].into_iter().collect();
        Document {
            facts,
            events: (0..events).map(|number| json!({ "number": number, "text": "x".repeat(80) })).collect(),
        }
    }

    #[test]
    fn a_file_that_is_too_large_lacks_the_oldest_events_and_says_so() {
        let whole: Value = serde_json::from_str(&document(1_000).within(1 << 20).expect("a file")).expect("JSON");
        assert_eq!((whole["events"].as_array().map(Vec::len), &whole["events_left_out"]), (Some(1_000), &json!(0)));
        let text = document(1_000).within(20_000).expect("a file");
        assert!(text.len() <= 20_000, "{}", text.len());
        let cut: Value = serde_json::from_str(&text).expect("JSON");
        let events = cut["events"].as_array().expect("events");
        assert_eq!(cut["events_left_out"].as_u64().map(|left_out| left_out as usize + events.len()), Some(1_000));
        assert_eq!(events.last().map(|event| event["number"].clone()), Some(json!(999)), "the newest ones are there");
        assert_eq!(document(1).within(10), None);
    }
}
