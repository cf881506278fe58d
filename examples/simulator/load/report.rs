//! What the load generator saw.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use reqwest::StatusCode;
use serde_json::json;

/// The longest latency that is told apart, in µs.
const LATENCY_US_MAX: u64 = 60_000_000;

/// One request's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) write: bool,
    /// None if there was no answer.
    pub(super) status: Option<StatusCode>,
    /// From the moment it was due.
    pub(super) took: Duration,
}

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Report {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    /// How often each status was answered; 0 stands for no answer.
    statuses: BTreeMap<u16, u64>,
    ran: Duration,
    sent: u64,
    dropped: u64,
}

impl Report {
    pub(super) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order");
        let (reads, writes) = (histogram(), histogram());
        Self { reads, writes, statuses: BTreeMap::new(), ran: Duration::ZERO, sent: 0, dropped: 0 }
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        let histogram = if outcome.write { &mut self.writes } else { &mut self.reads };
        let micros = u64::try_from(outcome.took.as_micros()).unwrap_or(LATENCY_US_MAX);
        histogram.saturating_record(micros.max(1));
        *self.statuses.entry(outcome.status.map_or(0, |status| status.as_u16())).or_default() += 1;
    }

    pub(super) fn finish(&mut self, ran: Duration, due: u64, dropped: u64) {
        (self.ran, self.sent, self.dropped) = (ran, due - dropped, dropped);
    }

    /// Answers that are no success: a user that somebody else removed counts, too.
    fn failed(&self) -> u64 {
        self.statuses.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, count)| count).sum()
    }

    pub(super) fn print(&self, as_json: bool) {
        let text = if as_json { format!("{}\n", self.json()) } else { self.text() };
        // A closed pipe is no error of ours.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    fn json(&self) -> serde_json::Value {
        let latency = |histogram: &Histogram<u64>| {
            json!({
                "count": histogram.len(),
                "p50_ms": millis(histogram, 0.5),
                "p99_ms": millis(histogram, 0.99),
                "p999_ms": millis(histogram, 0.999),
                "max_ms": histogram.max() as f64 / 1e3,
            })
        };
        json!({
            "seconds": self.ran.as_secs_f64(),
            "sent": self.sent,
            "dropped": self.dropped,
            "failed": self.failed(),
            "rate": self.sent as f64 / self.ran.as_secs_f64().max(1e-9),
            "statuses": self.statuses,
            "reads": latency(&self.reads),
            "writes": latency(&self.writes),
        })
    }

    fn text(&self) -> String {
        let seconds = self.ran.as_secs_f64().max(1e-9);
        let mut text = format!(
            "sent {} in {seconds:.1} s ({:.0}/s), dropped {}, failed {}\n",
            self.sent,
            self.sent as f64 / seconds,
            self.dropped,
            self.failed()
        );
        for (name, histogram) in [("reads", &self.reads), ("writes", &self.writes)] {
            text.push_str(&format!(
                "{name:<7} {:>8}   p50 {:>8.2} ms   p99 {:>8.2} ms   p99.9 {:>8.2} ms   max {:>8.2} ms\n",
                histogram.len(),
                millis(histogram, 0.5),
                millis(histogram, 0.99),
                millis(histogram, 0.999),
                histogram.max() as f64 / 1e3,
            ));
        }
        for (status, count) in &self.statuses {
            let name = if *status == 0 { "no answer".to_owned() } else { status.to_string() };
            text.push_str(&format!("{name:<9} {count}\n"));
        }
        text
    }
}

fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
