//! A bound on how often the same thing is logged: what fails may fail for every read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// For how long messages of one kind are counted after one was logged: short enough to see that the cause is still there.
const PAUSE: Duration = Duration::from_secs(10);

/// The messages of one cache that every read, or every load, can cause.
#[derive(Debug, Default)]
pub(super) struct LogLimits {
    /// An operation of the store failed, not by an outage.
    pub(super) store_failed: LogLimit,
    /// An entry is damaged.
    pub(super) damaged: LogLimit,
    /// A value cannot be decoded.
    pub(super) undecodable: LogLimit,
    /// A value cannot be encoded.
    pub(super) not_encoded: LogLimit,
    /// The policy cannot say how long a value may live.
    pub(super) policy: LogLimit,
    /// A value is too large.
    pub(super) too_large: LogLimit,
    /// A stale value is served because its load failed.
    pub(super) stale: LogLimit,
    /// A refresh in the background failed.
    pub(super) refresh: LogLimit,
}

/// The messages of one kind.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    /// When the next one may be logged, in microseconds since the Unix epoch.
    next: AtomicU64,
    /// Number of messages that were not logged since the last one.
    withheld: AtomicU64,
}

impl LogLimit {
    /// Returns the number of messages that were not logged since the last one, if one may be logged now; else counts this one.
    pub(super) fn pass(&self, now: Timestamp) -> Option<u64> {
        let (next, now) = (self.next.load(Ordering::Relaxed), now.as_micros());
        let pause = PAUSE.as_micros() as u64;
        // Also if the clock was set back.
        let due = now >= next || next - now > pause;
        let taken = due && {
            let after = now.saturating_add(pause);
            self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if !taken {
            self.withheld.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.withheld.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_in_ten_seconds_is_logged_and_the_others_counted() {
        let limit = LogLimit::default();
        let at = |seconds: u64| Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000);
        assert_eq!(limit.pass(at(100)), Some(0), "the first at once");
        for _ in 0..1_000 {
            assert_eq!(limit.pass(at(109)), None);
        }
        assert_eq!(limit.pass(at(110)), Some(1_000));
        assert_eq!(limit.pass(at(119)), None);
        assert_eq!(limit.pass(at(3)), Some(1), "the clock was set back");
    }
}
