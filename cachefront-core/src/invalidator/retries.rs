//! The failures of sessions in a row: how long to pause, and since when nothing has succeeded.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::Timestamp;
use crate::settings::CdcSettings;

/// The state of the retries of one invalidator.
pub(super) struct Retries {
    /// The pauses.
    pub(super) backoff: Backoff,
    resign_after: Duration,
    /// When the first of the failures in a row ended its session.
    failing_since: Option<Timestamp>,
}

impl Retries {
    pub(super) fn new(settings: &CdcSettings) -> Self {
        let backoff = Backoff::new(settings.retry_min, settings.retry_max);
        Self { backoff, resign_after: settings.resign_after, failing_since: None }
    }

    /// A batch was applied.
    pub(super) fn applied(&mut self) {
        self.backoff.reset();
        self.progressed();
    }

    /// The source has replied, and there is nothing to apply.
    pub(super) fn progressed(&mut self) {
        self.failing_since = None;
    }

    /// A session has failed. Returns true, once in each such time, if nothing has succeeded for `resign_after`.
    pub(super) fn failed(&mut self, now: Timestamp) -> bool {
        // From now on if the clock was set back since: else the leader would keep its place for as long as the step.
        let since = self.failing_since.map_or(now, |since| since.min(now));
        self.failing_since = Some(since);
        let long = now.since(since) >= self.resign_after;
        if long {
            self.failing_since = None;
        }
        long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000 * (1_000 + seconds))
    }

    #[test]
    fn only_failures_in_a_row_add_up() {
        let mut retries = Retries::new(&CdcSettings::default());
        assert!(!retries.failed(at(0)));
        assert!(!retries.failed(at(4)));
        retries.progressed();
        assert!(!retries.failed(at(6)));
        retries.applied();
        assert!(!retries.failed(at(20)));
        assert!(retries.failed(at(25)));
        assert!(!retries.failed(at(26)), "once");
        assert!(retries.failed(at(31)));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_failing_leader() {
        let mut retries = Retries::new(&CdcSettings::default());
        assert!(!retries.failed(at(1_000)));
        assert!(!retries.failed(at(10)), "since when it fails is not known");
        assert!(!retries.failed(at(14)));
        assert!(retries.failed(at(15)));
    }
}
