//! Counters and histograms of a run, updated as responses arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::Origin;
use super::judge::Judgement;
use super::mix::Request;

/// Maximum recorded time, in µs; longer ones are recorded as this.
const MICROS_MAX: u64 = 3_600_000_000;

/// Maximum number of points of a timeline. Longer runs have wider points.
const POINTS_MAX: u128 = 600;

/// The outcome of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) request: Request,
    /// When it was due, relative to the start of measurement.
    pub(super) due: Duration,
    /// Time from the moment it was due to the response.
    pub(super) took: Duration,
    /// Time from the moment it was actually sent to the response.
    pub(super) service: Duration,
    /// `None` without a response.
    pub(super) status: Option<u16>,
    pub(super) origin: Origin,
    /// `None` unless it was a read that returned a row.
    pub(super) judgement: Option<Judgement>,
}

/// Judgements of reads, of the load or of the probe.
#[derive(Clone, Debug)]
pub(super) struct Staleness {
    pub(super) judged: u64,
    pub(super) unknown: u64,
    pub(super) stale: u64,
    /// Stale reads beyond the grace period.
    pub(super) late: u64,
    /// How long after the response to the write the stale reads started.
    pub(super) ages: Histogram<u64>,
}

impl Staleness {
    fn new() -> Self {
        Self { judged: 0, unknown: 0, stale: 0, late: 0, ages: histogram() }
    }

    fn add(&mut self, judgement: Judgement, grace: Duration) {
        match judgement {
            Judgement::Fresh => self.judged += 1,
            Judgement::Unknown => self.unknown += 1,
            Judgement::Stale(age) => {
                self.judged += 1;
                self.stale += 1;
                self.late += u64::from(age > grace);
                record(&mut self.ages, age);
            }
        }
    }
}

/// Measurements of the probe.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    /// Time from the response to a write to the first fresh read; zero if the first read was fresh.
    pub(super) closed: Histogram<u64>,
    /// Rows that were still stale at the end, by the time since the write.
    pub(super) open: Histogram<u64>,
    pub(super) reads: Staleness,
    /// Writes and reads of the probe that failed.
    pub(super) errors: u64,
}

/// One interval of the timeline.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) answered: u64,
    pub(super) errors: u64,
    pub(super) dropped: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) stale: u64,
    pub(super) latency: Histogram<u32>,
}

impl Point {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, MICROS_MAX, 2).expect("the bounds are in order");
        Self { answered: 0, errors: 0, dropped: 0, hits: 0, misses: 0, stale: 0, latency }
    }
}

/// Everything that was measured; excludes the warm-up.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    grace: Duration,
    pub(super) width: Duration,
    pub(super) points: Vec<Point>,
    pub(super) reads: Histogram<u64>,
    pub(super) writes: Histogram<u64>,
    /// Latencies of reads by origin: cache and database.
    pub(super) cached: Histogram<u64>,
    pub(super) loaded: Histogram<u64>,
    /// Latencies of all requests from the moment they were actually sent.
    pub(super) service: Histogram<u64>,
    /// Number of responses by status; 0 means no response.
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) sent: u64,
    pub(super) dropped: u64,
    pub(super) errors: u64,
    pub(super) reads_load: Staleness,
    pub(super) windows: Windows,
}

impl Tally {
    pub(super) fn new(length: Duration, grace: Duration) -> Self {
        let width = Duration::from_secs(u64::try_from(u128::from(length.as_secs()).div_ceil(POINTS_MAX)).unwrap_or(1));
        let windows = Windows { closed: histogram(), open: histogram(), reads: Staleness::new(), errors: 0 };
        Self {
            grace,
            width: width.max(Duration::from_secs(1)),
            points: Vec::new(),
            reads: histogram(),
            writes: histogram(),
            cached: histogram(),
            loaded: histogram(),
            service: histogram(),
            statuses: BTreeMap::new(),
            sent: 0,
            dropped: 0,
            errors: 0,
            reads_load: Staleness::new(),
            windows,
        }
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        let is_write = matches!(outcome.request, Request::Write { .. });
        record(if is_write { &mut self.writes } else { &mut self.reads }, outcome.took);
        record(&mut self.service, outcome.service);
        let failed = !outcome.status.is_some_and(|status| (200..300).contains(&status));
        self.errors += u64::from(failed);
        *self.statuses.entry(outcome.status.unwrap_or(0)).or_default() += 1;
        match outcome.origin {
            Origin::Cache => record(&mut self.cached, outcome.took),
            Origin::Database => record(&mut self.loaded, outcome.took),
            Origin::Unknown => {}
        }
        let is_stale = matches!(outcome.judgement, Some(Judgement::Stale(_)));
        if let Some(judgement) = outcome.judgement {
            self.reads_load.add(judgement, self.grace);
        }
        let point = self.point(outcome.due);
        point.answered += u64::from(!failed);
        point.errors += u64::from(failed);
        point.hits += u64::from(outcome.origin == Origin::Cache);
        point.misses += u64::from(outcome.origin == Origin::Database);
        point.stale += u64::from(is_stale);
        point.latency.saturating_record(micros(outcome.took));
    }

    pub(super) fn drop_one(&mut self, due: Duration) {
        self.dropped += 1;
        self.point(due).dropped += 1;
    }

    /// Counts a read of the probe.
    pub(super) fn add_probe_read(&mut self, judgement: Judgement) {
        self.windows.reads.add(judgement, self.grace);
    }

    pub(super) fn close_window(&mut self, length: Duration) {
        record(&mut self.windows.closed, length);
    }

    /// Records a window that the end of the run cut off. Ignored within the grace period: the next read might have been
    /// fresh.
    pub(super) fn leave_window_open(&mut self, length: Duration) {
        if length > self.grace {
            record(&mut self.windows.open, length);
        }
    }

    /// Returns the latencies of reads and writes.
    pub(super) fn all(&self) -> Histogram<u64> {
        let mut all = self.reads.clone();
        // Cannot fail: both have the same bounds.
        let _ = all.add(&self.writes);
        all
    }

    /// Returns closed and open windows.
    pub(super) fn all_windows(&self) -> Histogram<u64> {
        let mut all = self.windows.closed.clone();
        // Cannot fail: both have the same bounds.
        let _ = all.add(&self.windows.open);
        all
    }

    pub(super) fn answered(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// Returns the share of the load's reads that were served from a cache; `None` if the API does not report it.
    pub(super) fn hit_ratio(&self) -> Option<f64> {
        ratio(self.cached.len() as f64, (self.cached.len() + self.loaded.len()) as f64)
    }

    /// Returns the latencies of the last `points` points.
    pub(super) fn recent(&self, points: usize) -> Histogram<u32> {
        let mut sum = Point::new().latency;
        for point in self.points.iter().rev().take(points) {
            // Cannot fail: all have the same bounds.
            let _ = sum.add(&point.latency);
        }
        sum
    }

    fn point(&mut self, at: Duration) -> &mut Point {
        let index = usize::try_from(at.as_nanos() / self.width.as_nanos()).unwrap_or(usize::MAX);
        // `at` is a due time, which lies within the stages; the bound guards memory.
        let index = index.min(POINTS_MAX as usize);
        if self.points.len() <= index {
            self.points.resize_with(index + 1, Point::new);
        }
        &mut self.points[index]
    }
}

/// Returns `part / whole`, or `None` if `whole` is not positive.
pub(super) fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// Returns an empty histogram of times in µs.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("the bounds are in order")
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(micros(time));
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(MICROS_MAX)
}

/// Summary of a histogram, in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Quantiles {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram.len(),
            mean_ms: histogram.mean() / 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1e3,
        }
    }
}

/// Returns every recorded value in µs and its count.
pub(super) fn counts(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(due_ms: u64, took_ms: u64, status: Option<u16>) -> Outcome {
        Outcome {
            request: Request::Read { row: 0 },
            due: Duration::from_millis(due_ms),
            took: Duration::from_millis(took_ms),
            service: Duration::from_millis(1),
            status,
            origin: Origin::Cache,
            judgement: Some(Judgement::Stale(Duration::from_millis(took_ms))),
        }
    }

    #[test]
    fn requests_count_at_the_moment_they_were_due() {
        let mut tally = Tally::new(Duration::from_secs(10), Duration::from_millis(50));
        tally.add(&outcome(500, 1_500, Some(200)));
        tally.add(&outcome(1_500, 10, Some(503)));
        tally.add(&outcome(1_600, 10, None));
        tally.drop_one(Duration::from_millis(1_700));
        assert_eq!(tally.points.len(), 2);
        let [first, second] = &tally.points[..] else { panic!("two points") };
        assert_eq!((first.answered, first.errors, second.errors, second.dropped), (1, 0, 2, 1));
        assert_eq!((tally.errors, tally.dropped, tally.answered()), (2, 1, 3));
        assert_eq!((tally.reads_load.stale, tally.reads_load.late, tally.hit_ratio()), (3, 1, Some(1.0)));
        // What the probe reads until a row is fresh is not of the load.
        tally.add_probe_read(Judgement::Stale(Duration::from_secs(1)));
        assert_eq!((tally.reads_load.stale, tally.windows.reads.stale), (3, 1));
        assert!(Quantiles::of(&tally.all()).max_ms >= 1_500.0);
    }

    #[test]
    fn a_long_run_has_wide_points() {
        assert_eq!(Tally::new(Duration::from_secs(60), Duration::ZERO).width, Duration::from_secs(1));
        assert_eq!(Tally::new(Duration::from_secs(3_600), Duration::ZERO).width, Duration::from_secs(6));
    }
}
