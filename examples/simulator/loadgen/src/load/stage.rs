//! The schedule of requests: stages of constant or changing rate, computed independently of responses.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use simulator_cli::duration;

/// Maximum rate, in requests per second.
pub const RATE_MAX: f64 = 100_000.0;

/// A part of a run: its length, and the rates at its start and end, in requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub length: Duration,
    pub from: f64,
    pub to: f64,
}

impl Stage {
    /// Returns a stage of constant rate.
    pub fn steady(length: Duration, rate: f64) -> Self {
        Self { length, from: rate, to: rate }
    }

    /// Returns the number of requests that are due in the stage.
    pub fn requests(&self) -> f64 {
        self.length.as_secs_f64() * f64::midpoint(self.from, self.to)
    }

    /// Returns the rate at `offset` seconds after the stage's start.
    fn rate_at(&self, offset: f64) -> f64 {
        self.from + (self.to - self.from) * (offset / self.length.as_secs_f64()).min(1.0)
    }

    /// Returns when the `count`-th request of the stage is due, in seconds after its start.
    fn due(&self, count: f64) -> f64 {
        // The count is the integral of the rate; this form of the quadratic's root also holds for a constant rate.
        let slope = (self.to - self.from) / self.length.as_secs_f64();
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        if count <= 0.0 { 0.0 } else { 2.0 * count / (self.from + root) }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.length.as_secs_f64();
        match self.from == self.to {
            true => write!(f, "{seconds}s@{}", self.from),
            false => write!(f, "{seconds}s@{}..{}", self.from, self.to),
        }
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Stage {
    type Err = String;

    /// Parses `10s@100`, or `10s@100..1000` for a linear ramp.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("--stages: {text} is no stage: write 10s@100, or 10s@100..1000 for a ramp");
        let (length, rates) = text.trim().split_once('@').ok_or_else(wrong)?;
        let length = duration::parse("--stages", length).map_err(|error| error.to_string())?;
        let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
        let rate = |text: &str| text.trim().parse::<f64>().ok().filter(|rate| (0.0..=RATE_MAX).contains(rate));
        let (from, to) = rate(from).zip(rate(to)).ok_or_else(wrong)?;
        Ok(Self { length, from, to })
    }
}

/// Parses stages separated by commas.
///
/// # Errors
/// A line that shows the stage that cannot be read.
pub fn parse(text: &str) -> Result<Vec<Stage>, String> {
    text.split(',').map(str::parse).collect()
}

/// The moments at which requests are due, as offsets from the start of the run.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    stages: Vec<Stage>,
    /// Index of the stage of the next request.
    at: usize,
    /// Start of that stage: seconds, and number of requests before it.
    begin: (f64, f64),
    next: f64,
}

impl Schedule {
    pub(super) fn new(stages: &[Stage]) -> Self {
        Self { stages: stages.to_vec(), at: 0, begin: (0.0, 0.0), next: 0.0 }
    }

    pub(super) fn length(&self) -> Duration {
        self.stages.iter().map(|stage| stage.length).sum()
    }

    /// Returns the index of the stage at `offset` and its target rate at that moment, or `None` after the end.
    pub(super) fn at(&self, offset: Duration) -> Option<(usize, f64)> {
        let mut left = offset;
        for (index, stage) in self.stages.iter().enumerate() {
            if left < stage.length {
                return Some((index, stage.rate_at(left.as_secs_f64())));
            }
            left -= stage.length;
        }
        None
    }

    /// Returns the number of requests that are due before `offset`.
    pub(super) fn due_before(&self, offset: Duration) -> f64 {
        let (mut left, mut sum) = (offset.as_secs_f64(), 0.0);
        for stage in &self.stages {
            let within = left.min(stage.length.as_secs_f64());
            sum += within * f64::midpoint(stage.from, stage.rate_at(within));
            left -= within;
        }
        sum
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let stage = self.stages.get(self.at)?;
            let within = self.next - self.begin.1;
            // The tolerance keeps rounding from assigning a request of the next stage to this one.
            if within < stage.requests() - 1e-9 {
                self.next += 1.0;
                return Some(Duration::from_secs_f64(self.begin.0 + stage.due(within)));
            }
            self.begin = (self.begin.0 + stage.length.as_secs_f64(), self.begin.1 + stage.requests());
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_and_shown() {
        let stages = parse("10s@100, 500ms@100..1000").expect("stages");
        assert_eq!(stages[0], Stage::steady(Duration::from_secs(10), 100.0));
        assert_eq!(stages[1], Stage { length: Duration::from_millis(500), from: 100.0, to: 1000.0 });
        assert_eq!((stages[0].to_string().as_str(), stages[1].to_string().as_str()), ("10s@100", "0.5s@100..1000"));
        for wrong in ["", "10s", "10@5", "10s@", "10s@-1", "10s@fast", "10s@1..", "10s@1,", "1s@1e9", "0s@5"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_steady_stage_is_even_and_a_ramp_grows() {
        let even: Vec<Duration> = Schedule::new(&parse("1s@4").expect("stages")).collect();
        assert_eq!(even, [0, 250, 500, 750].map(Duration::from_millis));
        let schedule = Schedule::new(&parse("10s@0..100,5s@100").expect("stages"));
        let due: Vec<Duration> = schedule.clone().collect();
        assert_eq!(due.len(), 1_000);
        assert!(due.is_sorted());
        let early = due.iter().filter(|due| **due < Duration::from_secs(5)).count();
        assert_eq!(early, 125);
        assert_eq!(schedule.at(Duration::from_secs(5)), Some((0, 50.0)));
        assert_eq!(schedule.at(Duration::from_secs(12)), Some((1, 100.0)));
        assert_eq!(schedule.at(Duration::from_secs(15)), None);
        assert!((schedule.due_before(Duration::from_secs(5)) - 125.0).abs() < 1e-6);
        assert!((schedule.due_before(Duration::from_secs(60)) - 1_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_pause_between_stages_is_kept() {
        let due: Vec<Duration> = Schedule::new(&parse("1s@1,2s@0,1s@2").expect("stages")).collect();
        assert_eq!(due, [0, 3_000, 3_500].map(Duration::from_millis));
    }
}
