//! The form in which runs are kept, shown and compared. A program that reads it has to know [`SCHEMA`] and [`VERSION`].

use serde::{Deserialize, Serialize};

use crate::experiment::options::options;
use crate::experiment::outcome::{ExperimentResult, Side};
use crate::load::outcome::{TimelinePoint, interval_s};
use crate::load::{BuiltWith, LoadPlan, LoadResult, Setup};

/// The name and the version of the form.
pub const SCHEMA: &str = "cachefront-simulator-run";
pub const VERSION: u32 = 1;

/// Maximum number of points of a curve, with about 30 bytes each. Longer timelines are merged into this many.
const POINTS_MAX: usize = 200;

/// What was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// One load.
    Load,
    /// The same load in TTL mode, there with stale-while-revalidate, and in CDC mode.
    Experiment,
    /// The same loads with several lifetimes of entries, and in CDC mode.
    Sweep,
}

impl RunKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Experiment => "experiment",
            Self::Sweep => "sweep",
        }
    }
}

/// A run, with all that was measured in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub schema: String,
    pub schema_version: u32,
    pub kind: RunKind,
    /// When measuring began, in RFC 3339.
    pub at: String,
    /// Where the API read changes from.
    pub source: String,
    /// How the API's caches were built; `None` if it did not say, and in records of earlier releases.
    #[serde(default)]
    pub caches: Option<BuiltWith>,
    /// The name of the preset; `None` for a plan of its own.
    pub preset: Option<String>,
    /// Highest target rate in requests per second; `None` in the closed model.
    pub rate: Option<f64>,
    /// Length of one measurement.
    pub seconds: f64,
    /// Number of rows that were read and written.
    pub users: usize,
    /// Share of requests that were writes, 0 to 1.
    pub write_ratio: f64,
    /// A stale read later than this after the write counts as late.
    pub grace_ms: f64,
    pub verdict: String,
    /// Reservations about the numbers.
    pub notes: Vec<String>,
    pub measurements: Vec<Measurement>,
}

/// One load within a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// `ttl`, `swr` or `cdc`; `None` if the API did not say.
    pub mode: Option<String>,
    /// The lifetime of entries where age decides; `None` in CDC mode.
    pub ttl_ms: Option<u64>,
    pub seed: u64,
    /// True if it was stopped early.
    pub stopped: bool,
    pub figures: Figures,
    /// The rows of the curve: seconds since the start, stale reads a second, hits in percent, p50 and p99 in ms.
    pub curve: Vec<[Option<f64>; 5]>,
}

/// The key figures of a measurement. What was not measured is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Requests that succeeded, per second.
    pub rate: f64,
    /// Reads of the load that could be judged.
    pub judged: u64,
    /// Reads of the load that began after the response to a write and returned an older value.
    pub stale: u64,
    /// Those that began later than the grace period after it.
    pub stale_late: u64,
    /// How long after the response the last of them began; zero if there was none.
    pub stale_age_max_ms: Option<f64>,
    /// The longest time from the response to a write to the first fresh read, as the probe measured it.
    pub window_max_ms: Option<f64>,
    /// Loads from the database per second, the probe's included.
    pub database_loads: Option<f64>,
    /// Share of reads served from a cache, in percent.
    pub hits: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub errors: u64,
    pub dropped: u64,
}

impl Figures {
    fn of(result: &LoadResult) -> Self {
        let fresh = &result.freshness;
        let latency = Some(&result.latency.all).filter(|latency| latency.count > 0);
        let windows = Some(&fresh.windows).filter(|windows| windows.count > 0);
        let stale_age = if fresh.load.stale > 0 { fresh.load.age.max_ms } else { 0.0 };
        Self {
            rate: result.requests.rate,
            judged: fresh.load.judged,
            stale: fresh.load.stale,
            stale_late: fresh.load.late,
            stale_age_max_ms: (fresh.load.judged > 0).then_some(stale_age),
            window_max_ms: windows.map(|windows| windows.max_ms),
            database_loads: result.cache.database_loads.map(|loads| loads as f64 / result.seconds.max(1e-9)),
            hits: result.cache.hit_ratio.map(|ratio| ratio * 100.0),
            p50_ms: latency.map(|latency| latency.p50_ms),
            p99_ms: latency.map(|latency| latency.p99_ms),
            errors: result.requests.failed,
            dropped: result.requests.dropped,
        }
    }

    /// Returns the share of judged reads that were stale, in percent; `None` if no read could be judged.
    pub fn stale_percent(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.stale as f64 / self.judged as f64 * 100.0)
    }
}

impl Measurement {
    pub(crate) fn of(result: &LoadResult, mode: Option<&str>, ttl_ms: Option<u64>) -> Self {
        Self {
            mode: mode.map(str::to_owned),
            ttl_ms: ttl_ms.filter(|_| mode != Some("cdc")),
            seed: result.seed,
            stopped: result.stopped,
            figures: Figures::of(result),
            curve: curve(&result.timeline),
        }
    }
}

impl RunRecord {
    /// A record without measurements.
    pub(crate) fn new(kind: RunKind, at: &str, setup: &Setup, plan: &LoadPlan) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            schema_version: VERSION,
            kind,
            at: at.to_owned(),
            source: setup.source.clone().unwrap_or_else(|| "not known".to_owned()),
            caches: setup.caches,
            preset: plan.preset.map(str::to_owned),
            rate: plan.rate_max(),
            seconds: plan.length().as_secs_f64(),
            users: plan.users,
            write_ratio: plan.write_ratio,
            grace_ms: plan.grace.as_secs_f64() * 1e3,
            verdict: String::new(),
            notes: Vec::new(),
            measurements: Vec::new(),
        }
    }

    /// The record of a load.
    pub fn of_load(result: &LoadResult) -> Self {
        Self {
            verdict: result.verdict.sentence.clone(),
            notes: result
                .cache
                .not_measured
                .map(|why| format!("Database loads were not measured: {why}."))
                .into_iter()
                .collect(),
            measurements: vec![Measurement::of(result, result.mode.as_deref(), built_ttl(result))],
            ..Self::new(RunKind::Load, &result.started_at, &setup_of(result), &result.plan)
        }
    }

    /// The record of an experiment.
    pub fn of_experiment(result: &ExperimentResult) -> Self {
        let side = |side: &Side| Measurement::of(&side.result, Some(side.name), built_ttl(&side.result));
        let setup = Setup { source: result.source.clone(), caches: result.caches };
        Self {
            verdict: result.verdict.clone(),
            notes: result.notes.clone(),
            measurements: [&result.ttl, &result.swr, &result.cdc].map(side).into(),
            ..Self::new(RunKind::Experiment, &result.started_at, &setup, &result.plan)
        }
    }

    /// Describes how the API's caches were built; `None` if it did not say.
    pub fn caches_in_words(&self) -> Option<String> {
        self.caches.as_ref().map(options)
    }

    /// Returns the lifetimes that are longer than a measurement, in ms: no entry expires by them within it.
    pub fn unexpired_ttls(&self) -> Vec<u64> {
        let longer = |ttl_ms: &u64| *ttl_ms as f64 > self.seconds * 1e3;
        let mut ttls: Vec<u64> = self.measurements.iter().filter_map(|part| part.ttl_ms).filter(longer).collect();
        ttls.sort_unstable();
        ttls.dedup();
        ttls
    }
}

fn setup_of(result: &LoadResult) -> Setup {
    Setup { source: result.source.clone(), caches: result.caches }
}

/// Returns the lifetime of entries that the caches were built with.
fn built_ttl(result: &LoadResult) -> Option<u64> {
    result.caches.and_then(|caches| caches.ttl_ms)
}

/// Merges a timeline into at most [`POINTS_MAX`] points.
fn curve(timeline: &[TimelinePoint]) -> Vec<[Option<f64>; 5]> {
    let width = interval_s(timeline);
    let each = timeline.len().div_ceil(POINTS_MAX).max(1);
    let merged = timeline.chunks(each).map(|points| {
        let mean = |of: &dyn Fn(&TimelinePoint) -> Option<f64>| {
            let known: Vec<f64> = points.iter().filter_map(of).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let row = [
            points.first().map(|point| point.at_s),
            mean(&|point| Some(point.stale as f64 / width)),
            mean(&|point| point.hit_ratio.map(|ratio| ratio * 100.0)),
            mean(&|point| point.p50_ms),
            mean(&|point| point.p99_ms),
        ];
        row.map(|value| value.map(|value| (value * 100.0).round() / 100.0))
    });
    merged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(index: usize, stale: u64, p99_ms: Option<f64>) -> TimelinePoint {
        TimelinePoint {
            at_s: index as f64 * 0.5,
            rate_wanted: None,
            rate: 10.0,
            errors: 0,
            dropped: 0,
            stale,
            hit_ratio: Some(0.5),
            p50_ms: None,
            p99_ms,
        }
    }

    #[test]
    fn a_long_timeline_is_merged_and_what_is_not_measured_is_unknown() {
        let short = curve(&[point(0, 3, None), point(1, 0, Some(2.0))]);
        assert_eq!(short[0], [Some(0.0), Some(6.0), Some(50.0), None, None], "three in half a second");
        assert_eq!(short[1], [Some(0.5), Some(0.0), Some(50.0), None, Some(2.0)]);
        let long: Vec<TimelinePoint> = (0..599).map(|index| point(index, 1, Some(index as f64))).collect();
        let merged = curve(&long);
        assert_eq!(merged.len(), POINTS_MAX);
        assert_eq!((merged[1][0], merged[1][1], merged[1][4]), (Some(1.5), Some(2.0), Some(4.0)));
        assert!(curve(&[]).is_empty());
    }
}
