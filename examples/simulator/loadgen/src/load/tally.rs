//! What a run saw, counted as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::Origin;
use super::judge::Judgement;
use super::mix::Request;

/// The longest time that is told apart, in µs.
const MICROS_MAX: u64 = 3_600_000_000;

/// A timeline has at most so many points: a longer run has wider ones.
const POINTS_MAX: u128 = 600;

/// One request's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) request: Request,
    /// When it was due, counted from the begin of what is measured.
    pub(super) due: Duration,
    /// From the moment it was due.
    pub(super) took: Duration,
    /// From the moment it was really sent.
    pub(super) service: Duration,
    /// None if there was no answer.
    pub(super) status: Option<u16>,
    pub(super) origin: Origin,
    /// None if it was no read that returned a row.
    pub(super) judgement: Option<Judgement>,
}

/// Stale reads of one kind.
#[derive(Clone, Debug)]
pub(super) struct Staleness {
    pub(super) judged: u64,
    pub(super) unknown: u64,
    pub(super) stale: u64,
    /// Stale reads beyond the grace period.
    pub(super) late: u64,
    /// How long after the answer of the write they started.
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

/// What the probe found.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    /// From the answer of a write to the first read that was fresh; zero if the first one was.
    pub(super) closed: Histogram<u64>,
    /// Rows that were still stale at the end, and for how long by then.
    pub(super) open: Histogram<u64>,
    pub(super) reads: Staleness,
    /// Writes and reads of the probe that failed.
    pub(super) errors: u64,
}

/// A part of the time.
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

/// Everything that was seen of what is measured.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    grace: Duration,
    pub(super) width: Duration,
    pub(super) points: Vec<Point>,
    pub(super) reads: Histogram<u64>,
    pub(super) writes: Histogram<u64>,
    /// Reads by their origin.
    pub(super) cached: Histogram<u64>,
    pub(super) loaded: Histogram<u64>,
    /// All requests, from the moment they were really sent.
    pub(super) service: Histogram<u64>,
    /// How often each status was answered; 0 stands for no answer.
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

    /// A read of the probe.
    pub(super) fn add_probe_read(&mut self, judgement: Judgement) {
        self.windows.reads.add(judgement, self.grace);
    }

    pub(super) fn close_window(&mut self, length: Duration) {
        record(&mut self.windows.closed, length);
    }

    /// A window that the end of the run cut off. Within the grace period it says nothing: it might have closed at once.
    pub(super) fn leave_window_open(&mut self, length: Duration) {
        if length > self.grace {
            record(&mut self.windows.open, length);
        }
    }

    /// Reads and writes together.
    pub(super) fn all(&self) -> Histogram<u64> {
        let mut all = self.reads.clone();
        // Both have the same bounds.
        let _ = all.add(&self.writes);
        all
    }

    /// Closed and open windows together.
    pub(super) fn all_windows(&self) -> Histogram<u64> {
        let mut all = self.windows.closed.clone();
        // Both have the same bounds.
        let _ = all.add(&self.windows.open);
        all
    }

    pub(super) fn answered(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// Stale reads of load and probe.
    pub(super) fn stale(&self) -> u64 {
        self.reads_load.stale + self.windows.reads.stale
    }

    /// Stale reads of load and probe beyond the grace period.
    pub(super) fn stale_late(&self) -> u64 {
        self.reads_load.late + self.windows.reads.late
    }

    /// The part of the load's reads that a cache answered; none if the API does not say.
    pub(super) fn hit_ratio(&self) -> Option<f64> {
        ratio(self.cached.len() as f64, (self.cached.len() + self.loaded.len()) as f64)
    }

    /// The latencies of the last points.
    pub(super) fn recent(&self, points: usize) -> Histogram<u32> {
        let mut sum = Point::new().latency;
        for point in self.points.iter().rev().take(points) {
            // All have the same bounds.
            let _ = sum.add(&point.latency);
        }
        sum
    }

    fn point(&mut self, at: Duration) -> &mut Point {
        let index = usize::try_from(at.as_nanos() / self.width.as_nanos()).unwrap_or(usize::MAX);
        // Requests that end after the last stage were due before it.
        let index = index.min(POINTS_MAX as usize);
        if self.points.len() <= index {
            self.points.resize_with(index + 1, Point::new);
        }
        &mut self.points[index]
    }
}

/// `part` of `whole`; none if there is no whole.
pub(super) fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// An empty histogram of times in µs.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("the bounds are in order")
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(micros(time));
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(MICROS_MAX)
}

/// A histogram in a few numbers, in ms.
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

/// Every recorded value in µs and how often it was recorded.
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
        assert_eq!((tally.stale(), tally.stale_late(), tally.hit_ratio()), (3, 1, Some(1.0)));
        assert!(Quantiles::of(&tally.all()).max_ms >= 1_500.0);
    }

    #[test]
    fn a_long_run_has_wide_points() {
        assert_eq!(Tally::new(Duration::from_secs(60), Duration::ZERO).width, Duration::from_secs(1));
        assert_eq!(Tally::new(Duration::from_secs(3_600), Duration::ZERO).width, Duration::from_secs(6));
    }
}
