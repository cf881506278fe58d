//! The settings of a watchdog, and their bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::DURATION_MAX;

/// Minimum interval of polls: each is a request to the worker.
pub(super) const POLL_MIN: Duration = Duration::from_millis(5);

/// Settings of a [`Watchdog`](super::Watchdog).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WatchdogSettings {
    /// Whether failed tasks are restarted. If not, the watchdog only observes. Enable it in one process, so that several
    /// ones do not restart a task at once. Default: `true`.
    pub restarts: bool,
    /// Interval of polls; at least 5 ms, so that no pause is left out. Default: 1 s.
    pub poll_interval: Duration,
    /// The pause after the first restart that did not help; doubled after each further one. At most 24 h. Default: 1 s.
    pub retry_min: Duration,
    /// Maximum pause between two restarts: a restart is cheap, and no change is delivered until one succeeds. At least
    /// `retry_min` and at most 24 h. Default: 5 s.
    pub retry_max: Duration,
    /// A task that runs for this long has recovered: its next failure is followed by a restart at once. Default: 60 s.
    pub recovered_after: Duration,
}

impl Default for WatchdogSettings {
    fn default() -> Self {
        Self {
            restarts: true,
            poll_interval: Duration::from_secs(1),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(5),
            recovered_after: Duration::from_secs(60),
        }
    }
}

impl WatchdogSettings {
    /// Sets [`restarts`](Self::restarts).
    #[must_use]
    pub fn with_restarts(mut self, restarts: bool) -> Self {
        self.restarts = restarts;
        self
    }

    /// Sets [`poll_interval`](Self::poll_interval).
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets [`retry_min`](Self::retry_min) and [`retry_max`](Self::retry_max).
    #[must_use]
    pub fn with_retry(mut self, min: Duration, max: Duration) -> Self {
        (self.retry_min, self.retry_max) = (min, max.max(min));
        self
    }

    /// Returns the settings within the bounds that their fields name.
    pub(super) fn bounded(mut self) -> Self {
        self.poll_interval = self.poll_interval.max(POLL_MIN);
        self.retry_min = self.retry_min.min(DURATION_MAX);
        self.retry_max = self.retry_max.clamp(self.retry_min, DURATION_MAX);
        self
    }

    /// Sets [`recovered_after`](Self::recovered_after).
    #[must_use]
    pub fn with_recovered_after(mut self, duration: Duration) -> Self {
        self.recovered_after = duration;
        self
    }
}
