//! The result of a run: everything that was measured, in a form that serializes to JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::built_with::{BuiltWith, Setup};
use super::client::Counters;
use super::plan::{LoadPlan, Model};
use super::tally::{Quantiles, Staleness, Tally, counts, ratio};
use super::threshold::{Judged, Measure, Measured};

/// Overall outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All goals were met.
    Met,
    /// A goal was missed.
    Missed,
    /// Requests were dropped: the measurements are those of a lower rate, whether or not the goals were met.
    Invalid,
    /// There were no goals.
    Measured,
}

/// Outcome of a run, and a sentence that describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    pub ending: Ending,
    pub sentence: String,
}

/// Requests and responses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Requests {
    pub sent: u64,
    pub answered: u64,
    /// Requests that could not be sent in time. If there are any, the latencies are those of a lower rate.
    pub dropped: u64,
    /// Responses other than 2xx, and requests without a response.
    pub failed: u64,
    /// Mean target rate in requests per second; `None` in the closed model.
    pub rate_wanted: Option<f64>,
    pub rate: f64,
    /// Number of responses by status; 0 means no response.
    pub statuses: BTreeMap<u16, u64>,
}

/// Latencies. In the open model they count from the moment a request was due.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latencies {
    pub all: Quantiles,
    pub reads: Quantiles,
    pub writes: Quantiles,
    /// Reads served from a cache; `loaded` are those from the database.
    pub cached: Quantiles,
    pub loaded: Quantiles,
    /// From the moment a request was actually sent, as measured by tools without a schedule.
    pub service: Quantiles,
}

/// Effectiveness of the cache.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheNumbers {
    /// Share of reads served from a cache, 0 to 1.
    pub hit_ratio: Option<f64>,
    /// Source of `hit_ratio`: the responses of this run, or else the API's `counters`, which count all its clients.
    pub hit_ratio_from: Option<&'static str>,
    /// Loads from the database during the measurement, by the API's counters.
    pub database_loads: Option<u64>,
    /// Why `database_loads` was not measured.
    pub not_measured: Option<&'static str>,
}

/// Judgements of reads, of the load or of the probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StaleReads {
    /// Reads whose value was known to the run.
    pub judged: u64,
    /// Reads whose value was not known to the run, such as one that another client wrote.
    pub unknown: u64,
    pub stale: u64,
    /// Stale reads that started later than the grace period after the response to the write.
    pub late: u64,
    /// How long after the response to the write the stale reads started.
    pub age: Quantiles,
}

/// How long rows were stale.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Freshness {
    pub grace_ms: f64,
    pub load: StaleReads,
    /// Those of the probe, which reads a row that it has written until it is fresh: their number says nothing of the load.
    pub probe: StaleReads,
    /// Time from the response to a write to the first fresh read; for a row that was still stale at the end, the time
    /// until the end.
    pub windows: Quantiles,
    /// Number of rows that were still stale at the end.
    pub windows_open: u64,
    /// Every window length in µs, and its count.
    pub window_histogram: Vec<(u64, u64)>,
    pub probe_errors: u64,
}

/// One interval of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelinePoint {
    /// Start of the interval, relative to the start of measurement.
    pub at_s: f64,
    /// Target rate in requests per second; `None` in the closed model.
    pub rate_wanted: Option<f64>,
    pub rate: f64,
    pub errors: u64,
    pub dropped: u64,
    /// Stale reads of the load.
    pub stale: u64,
    pub hit_ratio: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// Returns the length of the intervals of a timeline, in seconds: more than one in a long run.
pub(crate) fn interval_s(timeline: &[TimelinePoint]) -> f64 {
    match timeline {
        [first, second, ..] => (second.at_s - first.at_s).max(1e-9),
        _ => 1.0,
    }
}

/// The complete result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadResult {
    pub program: &'static str,
    pub version: &'static str,
    /// When measuring began, in RFC 3339.
    pub started_at: String,
    /// Length of the measurement.
    pub seconds: f64,
    /// True if the run was stopped early.
    pub stopped: bool,
    /// The mode in force at the start, if the API reported it.
    pub mode: Option<String>,
    /// Where the API reads changes from, if it reported it.
    pub source: Option<String>,
    /// How the API's caches are built, if it reported it.
    pub caches: Option<BuiltWith>,
    pub seed: u64,
    pub plan: LoadPlan,
    pub verdict: Verdict,
    pub goals: Vec<Judged>,
    pub requests: Requests,
    pub latency: Latencies,
    /// Every latency in µs, and its count.
    pub histogram: Vec<(u64, u64)>,
    pub cache: CacheNumbers,
    pub freshness: Freshness,
    pub timeline: Vec<TimelinePoint>,
}

/// Inputs of a result other than plan and tally.
#[derive(Debug)]
pub(super) struct Circumstances {
    pub(super) started_at: String,
    pub(super) ran: Duration,
    pub(super) stopped: bool,
    pub(super) mode: Option<String>,
    pub(super) setup: Setup,
    /// The API's counters over the measurement, or why nothing is known of them.
    pub(super) counters: Result<Counters, &'static str>,
    /// Number of requests that were due.
    pub(super) due: f64,
    /// Target rate at each point of the timeline.
    pub(super) wanted: Vec<f64>,
}

impl LoadResult {
    pub(super) fn new(plan: &LoadPlan, tally: &Tally, around: Circumstances) -> Self {
        let seconds = around.ran.as_secs_f64().max(1e-9);
        let open = matches!(plan.model, Model::Open { .. });
        let all = tally.all();
        let mut result = Self {
            program: "cachefront simulator load",
            version: env!("CARGO_PKG_VERSION"),
            started_at: around.started_at,
            seconds,
            stopped: around.stopped,
            mode: around.mode,
            source: around.setup.source,
            caches: around.setup.caches,
            seed: plan.seed,
            plan: plan.clone(),
            verdict: Verdict { ending: Ending::Measured, sentence: String::new() },
            goals: Vec::new(),
            requests: Requests {
                sent: tally.sent,
                answered: tally.answered(),
                dropped: tally.dropped,
                failed: tally.errors,
                rate_wanted: open.then(|| around.due / seconds),
                rate: (tally.answered() - tally.errors.min(tally.answered())) as f64 / seconds,
                statuses: tally.statuses.clone(),
            },
            latency: Latencies {
                all: Quantiles::of(&all),
                reads: Quantiles::of(&tally.reads),
                writes: Quantiles::of(&tally.writes),
                cached: Quantiles::of(&tally.cached),
                loaded: Quantiles::of(&tally.loaded),
                service: Quantiles::of(&tally.service),
            },
            histogram: counts(&all),
            cache: cache_numbers(tally, around.counters),
            freshness: freshness(plan, tally),
            timeline: timeline(tally, open.then_some(&around.wanted)),
        };
        result.goals = plan.thresholds.iter().map(|goal| goal.judge(result.measured(goal.measure))).collect();
        result.verdict = result.judge();
        result
    }

    /// Returns true if a goal was missed on a measure for which `counts` returns true.
    pub fn missed(&self, counts: impl Fn(Measure) -> bool) -> bool {
        self.goals.iter().any(|goal| !goal.met && counts(goal.threshold.measure))
    }

    fn measured(&self, measure: Measure) -> Option<Measured> {
        let plain = |value: f64| Some(Measured { value, percent: None });
        // `None` if `whole` is zero: a share of nothing counts as not measured, which meets no goal.
        let of = |part: u64, whole: u64| {
            let percent = ratio(part as f64, whole as f64)? * 100.0;
            Some(Measured { value: part as f64, percent: Some(percent) })
        };
        let (requests, fresh) = (&self.requests, &self.freshness);
        let latency = Some(&self.latency.all).filter(|all| all.count > 0);
        let window = Some(&fresh.windows).filter(|windows| windows.count > 0);
        match measure {
            Measure::P50 => plain(latency?.p50_ms),
            Measure::P90 => plain(latency?.p90_ms),
            Measure::P95 => plain(latency?.p95_ms),
            Measure::P99 => plain(latency?.p99_ms),
            Measure::P999 => plain(latency?.p999_ms),
            Measure::Max => plain(latency?.max_ms),
            Measure::Errors => of(requests.failed, requests.answered),
            Measure::Dropped => of(requests.dropped, requests.sent + requests.dropped),
            Measure::Stale => of(fresh.load.stale, fresh.load.judged),
            Measure::StaleLate => of(fresh.load.late, fresh.load.judged),
            Measure::Hits => {
                self.cache.hit_ratio.map(|ratio| Measured { value: ratio * 100.0, percent: Some(ratio * 100.0) })
            }
            Measure::Rate => plain(requests.rate),
            Measure::WindowP99 => plain(window?.p99_ms),
            Measure::WindowMax => plain(window?.max_ms),
        }
    }

    fn judge(&self) -> Verdict {
        let missed: Vec<String> = self
            .goals
            .iter()
            .filter(|goal| !goal.met)
            .map(|goal| format!("{} (was {})", goal.threshold, goal.shown))
            .collect();
        let facts = self.facts();
        if self.requests.dropped > 0 {
            let list = match missed.len() {
                0 => String::new(),
                count => format!(" {count} of {} goals missed: {}.", self.goals.len(), missed.join(", ")),
            };
            let sentence = format!("Not valid, the rate could not be kept: {facts}.{list}");
            return Verdict { ending: Ending::Invalid, sentence };
        }
        let (ending, sentence) = match (self.goals.len(), missed.len()) {
            (0, _) => (Ending::Measured, format!("Measured, without goals: {facts}.")),
            (1, 0) => (Ending::Met, format!("The goal was met: {facts}.")),
            (2, 0) => (Ending::Met, format!("Both goals were met: {facts}.")),
            (count, 0) => (Ending::Met, format!("All {count} goals were met: {facts}.")),
            (count, _) => {
                let list = missed.join(", ");
                (Ending::Missed, format!("{} of {count} goals missed: {list}. {facts}.", missed.len()))
            }
        };
        Verdict { ending, sentence }
    }

    /// Returns the most important numbers as text.
    fn facts(&self) -> String {
        let fresh = &self.freshness;
        let stale = match (fresh.load.stale, fresh.load.late) {
            (0, _) => "no stale read".to_owned(),
            (stale, late) => format!(
                "{stale} of {} reads stale, {} later than {:.0} ms after the write",
                fresh.load.judged,
                if late == 0 { "none".to_owned() } else { late.to_string() },
                fresh.grace_ms
            ),
        };
        let probed = match fresh.probe.late {
            0 => String::new(),
            1 => ", and one late one of the probe".to_owned(),
            late => format!(", and {late} late ones of the probe"),
        };
        let dropped = match self.requests.dropped {
            0 => String::new(),
            dropped => format!(", {dropped} dropped"),
        };
        format!(
            "{:.0} responses a second over {:.0} s, 99 % of them within {:.1} ms, {} failed{dropped}, {stale}{probed}",
            self.requests.rate, self.seconds, self.latency.all.p99_ms, self.requests.failed
        )
    }
}

fn cache_numbers(tally: &Tally, counters: Result<Counters, &'static str>) -> CacheNumbers {
    let own = tally.hit_ratio();
    let (counters, not_measured) = (counters.ok(), counters.err());
    let counted = counters.and_then(|counters| ratio(counters.hits, counters.reads));
    CacheNumbers {
        hit_ratio: own.or(counted),
        hit_ratio_from: own.map(|_| "responses").or(counted.map(|_| "counters")),
        database_loads: counters.map(|counters| counters.loads as u64),
        not_measured,
    }
}

fn freshness(plan: &LoadPlan, tally: &Tally) -> Freshness {
    let reads = |reads: &Staleness| StaleReads {
        judged: reads.judged,
        unknown: reads.unknown,
        stale: reads.stale,
        late: reads.late,
        age: Quantiles::of(&reads.ages),
    };
    let windows = tally.all_windows();
    Freshness {
        grace_ms: plan.grace.as_secs_f64() * 1e3,
        load: reads(&tally.reads_load),
        probe: reads(&tally.windows.reads),
        windows: Quantiles::of(&windows),
        windows_open: tally.windows.open.len(),
        window_histogram: counts(&windows),
        probe_errors: tally.windows.errors,
    }
}

fn timeline(tally: &Tally, wanted: Option<&Vec<f64>>) -> Vec<TimelinePoint> {
    let width = tally.width.as_secs_f64();
    let points = tally.points.iter().enumerate();
    let point = |(index, point): (usize, &super::tally::Point)| {
        let quantile = |at: f64| (!point.latency.is_empty()).then(|| point.latency.value_at_quantile(at) as f64 / 1e3);
        TimelinePoint {
            at_s: index as f64 * width,
            rate_wanted: wanted.and_then(|wanted| wanted.get(index).copied()),
            rate: point.answered as f64 / width,
            errors: point.errors,
            dropped: point.dropped,
            stale: point.stale,
            hit_ratio: ratio(point.hits as f64, (point.hits + point.misses) as f64),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        }
    };
    points.map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::judge::Judgement;

    /// Returns the result of a run of two seconds with the outcomes that `see` adds.
    fn result(goals: &[&str], see: impl FnOnce(&mut Tally)) -> LoadResult {
        let thresholds = goals.iter().map(|goal| goal.parse().expect("a goal")).collect();
        let plan = LoadPlan { thresholds, ..LoadPlan::default() };
        let mut tally = Tally::new(Duration::from_secs(2), plan.grace);
        see(&mut tally);
        let around = Circumstances {
            started_at: String::new(),
            ran: Duration::from_secs(2),
            stopped: false,
            mode: None,
            setup: Setup::default(),
            counters: Err("no API"),
            due: 0.0,
            wanted: Vec::new(),
        };
        LoadResult::new(&plan, &tally, around)
    }

    #[test]
    fn the_intervals_of_a_long_run_are_longer_than_a_second() {
        for (seconds, interval) in [(600, 1.0), (1_200, 2.0), (3_600, 6.0)] {
            let mut tally = Tally::new(Duration::from_secs(seconds), Duration::ZERO);
            tally.drop_one(Duration::from_secs(20));
            assert_eq!(interval_s(&timeline(&tally, None)), interval, "{seconds} s");
        }
        assert_eq!(interval_s(&[]), 1.0);
    }

    #[test]
    fn what_the_probe_reads_is_no_stale_read_of_the_load() {
        let result = result(&["stale=0", "stale_late=0"], |tally| {
            tally.reads_load.judged = 10;
            tally.add_probe_read(Judgement::Stale(Duration::from_secs(3)));
        });
        assert!(result.goals.iter().all(|goal| goal.met), "{:?}", result.goals);
        assert_eq!((result.freshness.load.stale, result.freshness.probe.late), (0, 1));
        let sentence = &result.verdict.sentence;
        assert!(sentence.contains("no stale read, and one late one of the probe"), "{sentence}");
    }

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        let goals = ["stale=0", "stale_late=0", "errors=0", "dropped=0", "errors<1%"];
        let result = result(&goals, |_| {});
        for goal in &result.goals {
            assert!(!goal.met && goal.shown == "not measured", "{goal:?}");
        }
        assert_eq!(result.verdict.ending, Ending::Missed);
    }

    #[test]
    fn a_dropped_request_makes_the_run_invalid_whatever_the_goals_say() {
        for goals in [&[][..], &["dropped<90%"], &["dropped=0"]] {
            let result = result(goals, |tally| {
                tally.sent = 9;
                tally.drop_one(Duration::from_millis(1_500));
            });
            assert_eq!(result.verdict.ending, Ending::Invalid);
            assert!(result.verdict.sentence.starts_with("Not valid"), "{:?}", result.verdict);
            assert_eq!(result.missed(|_| true), goals == ["dropped=0"]);
        }
    }
}
