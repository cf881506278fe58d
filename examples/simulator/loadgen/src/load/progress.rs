//! How a run is doing, for whoever looks on while it runs.

use serde::Serialize;

use super::outcome::Verdict;

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing was started yet.
    #[default]
    Idle,
    /// Rows are looked up and created.
    Preparing,
    /// Load runs, and is not measured yet.
    WarmingUp,
    Running,
    /// All requests were sent; the last answers are waited for.
    Draining,
    Finished,
    /// Somebody ended it early; what was measured is kept.
    Stopped,
    /// It could not run; `message` says why.
    Failed,
}

impl Phase {
    /// True while a run holds the place of the one run that may be.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Preparing | Self::WarmingUp | Self::Running | Self::Draining)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Preparing => "preparing",
            Self::WarmingUp => "warming up",
            Self::Running => "running",
            Self::Draining => "waiting for the last answers",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// A run at a moment. Counters leave out the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadProgress {
    /// Counts the runs of this process; zero before the first.
    pub run: u64,
    pub phase: Phase,
    pub preset: Option<&'static str>,
    /// The number of the stage, from 1, and how many there are; none during the warm-up.
    pub stage: Option<(usize, usize)>,
    pub elapsed_ms: u64,
    pub left_ms: u64,
    /// Requests for each second that the plan wants now; none in the closed model.
    pub rate_wanted: Option<f64>,
    /// Answers in the last second; after the end, for each second of the run.
    pub rate_achieved: f64,
    /// Of the last 5 s; after the end, of the whole run. None if nothing was answered.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub answered: u64,
    pub errors: u64,
    pub dropped: u64,
    pub in_flight: u64,
    /// The part of reads that a cache answered, 0 to 1; none if the API does not say.
    pub hit_ratio: Option<f64>,
    /// Reads that started after a write was answered and returned an older value.
    pub stale_reads: u64,
    /// Those that started later than the grace period after the answer.
    pub stale_late: u64,
    /// How often the probe wrote a row and read it until it was fresh, and the longest time that this took.
    pub windows: u64,
    pub window_max_ms: Option<f64>,
    /// After the end.
    pub verdict: Option<Verdict>,
    /// Why it failed.
    pub message: Option<String>,
}

impl LoadProgress {
    /// One line for a terminal.
    pub fn line(&self) -> String {
        let millis = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1} ms"));
        let wanted = self.rate_wanted.map_or(String::new(), |rate| format!("/{rate:.0}"));
        let stage = self.stage.filter(|(_, count)| *count > 1);
        let stage = stage.map_or(String::new(), |(number, count)| format!(" stage {number}/{count}"));
        let hits = self.hit_ratio.map_or(String::new(), |ratio| format!("  hits {:.1} %", ratio * 100.0));
        format!(
            "{}{stage} {:.0} s, {:.0} s left  {:.0}{wanted} req/s  p50 {}  p99 {}{hits}  errors {}  dropped {}  stale {} (late {})",
            self.phase.word(),
            self.elapsed_ms as f64 / 1e3,
            self.left_ms as f64 / 1e3,
            self.rate_achieved,
            millis(self.p50_ms),
            millis(self.p99_ms),
            self.errors,
            self.dropped,
            self.stale_reads,
            self.stale_late,
        )
    }
}
