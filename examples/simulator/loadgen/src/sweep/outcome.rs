//! The progress and the result of a sweep.

use std::time::Duration;

use super::plan::SweepPlan;
use crate::load::report::frame::span;
use crate::load::{Setup, lifetime};
use crate::modes::Ended;
use crate::modes_control::{ModesProgress, ModesRun};
use crate::record::{Measurement, RunKind, RunRecord};

/// The measurement of a sweep that is made.
#[derive(Clone, Debug, Default)]
pub struct SweepRun {
    /// Its number, from 1, and how many there are.
    pub part: (u64, u64),
    /// What is measured, such as `TTL 5 s, seed 43`.
    pub name: String,
}

/// A snapshot of a sweep.
pub type SweepProgress = ModesProgress<SweepRun>;

impl ModesRun for SweepRun {
    type Result = SweepResult;

    const KIND: &'static str = "sweep";

    fn part(&self) -> String {
        let (part, parts) = self.part;
        format!("{part}/{parts} {}", self.name)
    }

    fn restored(result: &SweepResult) -> &Result<String, String> {
        &result.restored
    }
}

/// What the measurements of a sweep came to.
#[derive(Debug)]
pub(super) struct Measured {
    /// Start of the first measurement.
    pub(super) started_at: String,
    pub(super) parts: Vec<Measurement>,
    /// Reservations about the mode.
    pub(super) disturbed: Vec<String>,
    /// Why the loads of a measurement were not counted.
    pub(super) not_counted: Option<&'static str>,
}

/// The complete result of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepResult {
    /// When the first measurement began, in RFC 3339.
    pub started_at: String,
    pub plan: SweepPlan,
    /// True if the mode did not change, all requests were sent, and reads could be judged, in every measurement.
    pub valid: bool,
    /// Reservations about the numbers.
    pub notes: Vec<String>,
    pub verdict: String,
    /// The restored mode, or why it could not be restored and what to do.
    pub restored: Result<String, String>,
    pub setup: Setup,
    /// All measurements in their order: by seed and lifetime, and those in CDC mode last.
    pub parts: Vec<Measurement>,
}

/// Names a measurement without its seed: `TTL 5 s`, `CDC`.
pub fn name(ttl_ms: Option<u64>) -> String {
    ttl_ms.map_or("CDC".to_owned(), |ttl_ms| format!("TTL {}", lifetime(ttl_ms)))
}

/// Returns the mean, the lowest and the highest of what the seeds of one lifetime measured; `None` if nothing was measured.
pub fn spread(
    parts: &[Measurement],
    ttl_ms: Option<u64>,
    of: impl Fn(&Measurement) -> Option<f64>,
) -> Option<[f64; 3]> {
    let known: Vec<f64> = parts.iter().filter(|part| part.ttl_ms == ttl_ms).filter_map(of).collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let low = known.iter().copied().reduce(f64::min)?;
    Some([mean, low, known.iter().copied().reduce(f64::max)?])
}

impl SweepResult {
    pub(super) fn new(plan: SweepPlan, ended: Ended<Measured>) -> Self {
        let Ended { work: Measured { started_at, parts, disturbed: mut notes, not_counted }, setup, restored } = ended;
        notes.extend(parts.iter().flat_map(reservations));
        let valid = notes.is_empty();
        notes.extend(not_counted.map(|why| format!("Database reads were not measured everywhere: {why}.")));
        notes.extend(restored.as_ref().err().cloned());
        notes.extend(unexpired(&plan));
        let verdict = verdict(&plan, &parts);
        Self { started_at, plan, valid, notes, verdict, restored, setup, parts }
    }
}

impl SweepResult {
    /// Returns the form in which the sweep is kept.
    pub fn record(&self) -> RunRecord {
        RunRecord {
            verdict: self.verdict.clone(),
            notes: self.notes.clone(),
            measurements: self.parts.clone(),
            ..RunRecord::new(RunKind::Sweep, &self.started_at, &self.setup, &self.plan.load)
        }
    }
}

fn reservations(part: &Measurement) -> Vec<String> {
    let (name, figures, mut notes) = (name(part.ttl_ms), &part.figures, Vec::new());
    if figures.dropped > 0 {
        notes.push(format!(
            "{name}, seed {}: {} requests could not be sent in time, so its latencies are those of a lower rate.",
            part.seed, figures.dropped
        ));
    }
    if figures.errors > 0 {
        notes.push(format!(
            "{name}, seed {}: {} requests failed, so its numbers are those of the others.",
            part.seed, figures.errors
        ));
    }
    if figures.judged == 0 {
        notes
            .push(format!("{name}, seed {}: no read could be judged, so nothing is known about staleness.", part.seed));
    }
    notes
}

/// Says what the length of a measurement means for the lifetimes that it does not reach.
fn unexpired(plan: &SweepPlan) -> Option<String> {
    let length = plan.load.length();
    let beyond: Vec<String> = plan.ttls.iter().filter(|ttl| **ttl > length).map(|ttl| lifetime(millis(*ttl))).collect();
    if beyond.is_empty() {
        return None;
    }
    Some(format!(
        "One measurement takes {}: no entry with a TTL of {} expires in it. What is shown for it is a cache that is {} old: in lasting \
         operation its stale reads are more and older.",
        lifetime(millis(length)),
        beyond.join(" or "),
        lifetime(millis(length)),
    ))
}

fn verdict(plan: &SweepPlan, parts: &[Measurement]) -> String {
    let of = |ttl_ms: Option<u64>| {
        let stale = spread(parts, ttl_ms, |part| part.figures.stale_percent());
        let loads = spread(parts, ttl_ms, |part| part.figures.database_loads);
        let stale = stale.map_or("not judged".to_owned(), |[mean, ..]| format!("{mean:.2} % of reads stale"));
        let loads = loads.map_or(String::new(), |[mean, ..]| format!(" and {mean:.1} database reads a second"));
        format!("{}: {stale}{loads}", name(ttl_ms))
    };
    let ttls = [plan.ttls.first(), plan.ttls.last().filter(|_| plan.ttls.len() > 1)];
    let mut sides: Vec<String> = ttls.into_iter().flatten().map(|ttl| of(Some(millis(*ttl)))).collect();
    sides.push(of(None));
    let late: u64 = parts.iter().filter(|part| part.ttl_ms.is_none()).map(|part| part.figures.stale_late).sum();
    let cdc = spread(parts, None, |part| part.figures.window_max_ms);
    let window =
        cdc.map_or(String::new(), |[.., max]| format!(" The longest stale window in CDC mode was {}", span(max)));
    let late = match (late, window.is_empty()) {
        (_, true) => String::new(),
        (0, false) => {
            format!(", and no read was stale later than {:.0} ms after the write.", plan.load.grace.as_secs_f64() * 1e3)
        }
        (late, false) => format!(
            ", and {late} reads were stale later than {:.0} ms after the write.",
            plan.load.grace.as_secs_f64() * 1e3
        ),
    };
    format!("{}.{window}{late}", sides.join("; "))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
