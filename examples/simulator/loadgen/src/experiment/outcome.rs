//! The progress of an experiment, and its result: its sides, compared.

use serde::Serialize;

use super::options::options;
use crate::load::report::frame::span;
use crate::load::{BuiltWith, LoadPlan, LoadResult, Setup};
use crate::modes_control::{ModesProgress, ModesRun};

/// The side of an experiment that is measured: `ttl` first, then `swr`, then `cdc`; `None` before the first one.
#[derive(Clone, Debug, Default)]
pub struct ExperimentRun {
    pub side: Option<&'static str>,
}

/// A snapshot of an experiment.
pub type ExperimentProgress = ModesProgress<ExperimentRun>;

impl ModesRun for ExperimentRun {
    type Result = ExperimentResult;

    const KIND: &'static str = "experiment";

    fn part(&self) -> String {
        self.side.unwrap_or("-").to_owned()
    }

    fn restored(result: &ExperimentResult) -> &Result<String, String> {
        &result.restored
    }
}

/// One side of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// `ttl`, `swr` or `cdc`.
    pub name: &'static str,
    /// False if another client changed the mode during the run: then the numbers mix two modes.
    pub undisturbed: bool,
    pub result: LoadResult,
}

/// One number, measured on all sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub name: &'static str,
    /// Explains the number to the user.
    pub note: String,
    pub unit: &'static str,
    /// `None` if it was not measured.
    pub ttl: Option<f64>,
    pub swr: Option<f64>,
    pub cdc: Option<f64>,
    /// True if lower values are better.
    pub less_is_better: bool,
}

/// The complete result of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExperimentResult {
    pub program: &'static str,
    pub version: &'static str,
    pub started_at: String,
    pub seed: u64,
    pub plan: LoadPlan,
    /// True if, on all sides, the mode did not change, all requests were sent and reads could be judged.
    pub valid: bool,
    /// Reservations about these numbers.
    pub notes: Vec<String>,
    pub verdict: String,
    pub compared: Vec<Compared>,
    /// The restored mode, or why it could not be restored and what to do.
    #[serde(serialize_with = "restored")]
    pub restored: Result<String, String>,
    /// How the caches are built; `None` if the API does not say.
    pub caches: Option<BuiltWith>,
    /// Where the API reads changes from; `None` if it does not say.
    pub source: Option<String>,
    pub ttl: Side,
    /// TTL mode with stale-while-revalidate.
    pub swr: Side,
    pub cdc: Side,
}

impl ExperimentResult {
    pub(super) fn new(
        plan: LoadPlan,
        [ttl, swr, cdc]: [Side; 3],
        setup: Setup,
        restored: Result<String, String>,
    ) -> Self {
        let mut notes = notes([&ttl, &swr, &cdc]);
        let valid = notes.is_empty();
        // These do not affect `valid`: what is compared was measured.
        notes.extend([&ttl, &swr, &cdc].into_iter().filter_map(not_counted));
        notes.extend(restored.as_ref().err().cloned());
        Self {
            program: "cachefront simulator experiment",
            version: env!("CARGO_PKG_VERSION"),
            started_at: ttl.result.started_at.clone(),
            seed: plan.seed,
            valid,
            verdict: verdict(&ttl.result, &swr.result, &cdc.result),
            compared: compare(&ttl.result, &swr.result, &cdc.result),
            plan,
            notes,
            restored,
            caches: setup.caches,
            source: setup.source,
            ttl,
            swr,
            cdc,
        }
    }

    /// Describes how the caches were built, `None` if the API did not say.
    pub fn caches_in_words(&self) -> Option<String> {
        self.caches.as_ref().map(options)
    }

    /// Returns true if a goal was missed. Goals on staleness count in CDC mode only, because TTL mode is stale by
    /// design.
    pub fn missed(&self) -> bool {
        let by_age =
            [&self.ttl, &self.swr].into_iter().any(|side| side.result.missed(|measure| !measure.is_staleness()));
        by_age || self.cdc.result.missed(|_| true)
    }
}

/// Serializes the restored mode, or null if it was not restored.
fn restored<S: serde::Serializer>(restored: &Result<String, String>, to: S) -> Result<S::Ok, S::Error> {
    restored.as_ref().ok().serialize(to)
}

/// Describes the result: the stale reads that CDC mode avoids, and its cost in database loads.
fn verdict(ttl: &LoadResult, swr: &LoadResult, cdc: &LoadResult) -> String {
    let (before, after) = (&ttl.freshness, &cdc.freshness);
    let stale = match before.load.stale {
        0 => "In TTL mode no stale read was seen".to_owned(),
        stale => format!(
            "In TTL mode {stale} of {} reads were stale, up to {} after the write",
            before.load.judged,
            span(before.load.age.max_ms)
        ),
    };
    let fresh = match (after.load.stale, after.load.late) {
        (0, _) => "in CDC mode none was".to_owned(),
        (1, 0) => format!("in CDC mode 1 was, {} after the write", span(after.load.age.max_ms)),
        (few, 0) => format!("in CDC mode {few} were, none more than {} after it", span(after.load.age.max_ms)),
        (few, late) => format!("in CDC mode {few} were, {late} of them later than {:.0} ms", after.grace_ms),
    };
    let probed = match after.probe.late {
        0 => String::new(),
        late => {
            let times = if late == 1 { "once".to_owned() } else { format!("{late} times") };
            format!(" (the probe saw the old value {times} more than {:.0} ms after it)", after.grace_ms)
        }
    };
    let price = match (loads_per_second(ttl), loads_per_second(cdc)) {
        (Some(before), Some(after)) => {
            format!(" The price: {after:.1} database loads a second instead of {before:.1}.")
        }
        _ => String::new(),
    };
    let revalidated = match (swr.freshness.load.stale, swr.freshness.load.age.max_ms) {
        (0, _) => "with stale-while-revalidate none was".to_owned(),
        (stale, age) => format!("with stale-while-revalidate {stale} were, up to {} after it", span(age)),
    };
    format!("{stale}; {revalidated}; {fresh}{probed}.{price}")
}

fn loads_per_second(result: &LoadResult) -> Option<f64> {
    result.cache.database_loads.map(|loads| loads as f64 / result.seconds)
}

fn compare(ttl: &LoadResult, swr: &LoadResult, cdc: &LoadResult) -> Vec<Compared> {
    let row = |name, unit, less_is_better, note: String, of: &dyn Fn(&LoadResult) -> Option<f64>| Compared {
        name,
        note,
        unit,
        ttl: of(ttl),
        swr: of(swr),
        cdc: of(cdc),
        less_is_better,
    };
    let grace = format!("of these: more than {:.0} ms after the write was answered", ttl.freshness.grace_ms);
    let [first, second, third] = [ttl, swr, cdc].map(|side| side.freshness.load.judged);
    let any =
        format!("of {first}, {second} and {third}: started after a write was answered, and returned an older value");
    let window = "by the probe: from the answer of a write to the first fresh read".to_owned();
    let windows = |result: &LoadResult| Some(result.freshness.windows).filter(|windows| windows.count > 0);
    vec![
        row("Stale reads", "", true, any, &|result| Some(result.freshness.load.stale as f64)),
        row("Late stale reads", "", true, grace, &|result| Some(result.freshness.load.late as f64)),
        row("Staleness, longest", "ms", true, window.clone(), &|result| windows(result).map(|of| of.max_ms)),
        row("Staleness, p99", "ms", true, window, &|result| windows(result).map(|of| of.p99_ms)),
        row("Hit ratio", "%", false, "reads answered without the database".to_owned(), &|result| {
            result.cache.hit_ratio.map(|ratio| ratio * 100.0)
        }),
        row("Database loads", "/s", true, "rows read from the database, probe included".to_owned(), &loads_per_second),
        row("Latency p50", "ms", true, "from the moment a request was due".to_owned(), &|result| {
            Some(result.latency.all.p50_ms)
        }),
        row("Latency p99", "ms", true, "from the moment a request was due".to_owned(), &|result| {
            Some(result.latency.all.p99_ms)
        }),
        row("Failed requests", "", true, "no answer, or none that is a success".to_owned(), &|result| {
            Some(result.requests.failed as f64)
        }),
    ]
}

/// Says why the loads of a side were not measured.
fn not_counted(side: &Side) -> Option<String> {
    let why = side.result.cache.not_measured?;
    Some(format!("{}: database loads were not measured: {why}.", side.name))
}

fn notes(sides: [&Side; 3]) -> Vec<String> {
    let mut notes = Vec::new();
    for side in sides {
        let (name, result) = (side.name, &side.result);
        if !side.undisturbed {
            notes
                .push(format!("The mode was changed by another client during the {name} side: repeat the experiment."));
        }
        if result.requests.dropped > 0 {
            notes.push(format!(
                "{name}: {} requests could not be sent in time, so its latencies are those of a lower rate.",
                result.requests.dropped
            ));
        }
        if result.freshness.load.judged + result.freshness.probe.judged == 0 {
            notes.push(format!("{name}: no read could be judged, so nothing is known about staleness."));
        }
    }
    notes
}
