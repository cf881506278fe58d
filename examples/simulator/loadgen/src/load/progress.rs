//! The progress of a run.

use serde::Serialize;

use super::outcome::Verdict;

/// Phase of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No run was started yet.
    #[default]
    Idle,
    /// Looking up and creating rows.
    Preparing,
    /// Sending load that is not measured.
    WarmingUp,
    Running,
    /// All requests are sent; the last responses are outstanding.
    Draining,
    Finished,
    /// Stopped early; the result covers what was measured so far.
    Stopped,
    /// The run failed; `message` says why.
    Failed,
}

impl Phase {
    /// Returns true while a run is in progress, so that no other can start.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Preparing | Self::WarmingUp | Self::Running | Self::Draining)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Preparing => "preparing",
            Self::WarmingUp => "warming up",
            Self::Running => "running",
            Self::Draining => "waiting for the last responses",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// A snapshot of a run. Counters exclude the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadProgress {
    /// Number of the run in this process, from 1; 0 before the first.
    pub run: u64,
    pub phase: Phase,
    pub preset: Option<&'static str>,
    /// Number of the stage, from 1, and the number of stages; `None` during the warm-up.
    pub stage: Option<(usize, usize)>,
    pub elapsed_ms: u64,
    pub left_ms: u64,
    /// Current target rate in requests per second; `None` in the closed model.
    pub rate_wanted: Option<f64>,
    /// Responses in the last second; after the end, the mean rate of the run.
    pub rate_achieved: f64,
    /// Median latency of the last 5 timeline points; after the end, of the whole run. `None` without responses.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub answered: u64,
    pub errors: u64,
    pub dropped: u64,
    pub in_flight: u64,
    /// Share of reads served from a cache, 0 to 1; `None` if the API does not report it.
    pub hit_ratio: Option<f64>,
    /// Reads of the load that started after the response to a write and returned an older value.
    pub stale_reads: u64,
    /// Stale reads that started later than the grace period after the response.
    pub stale_late: u64,
    /// Number of staleness windows that the probe measured, and the longest one.
    pub windows: u64,
    pub window_max_ms: Option<f64>,
    /// `None` until the end.
    pub verdict: Option<Verdict>,
    /// Why the run failed.
    pub message: Option<String>,
}

impl LoadProgress {
    /// Formats one line for a terminal.
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
