//! The freshness objective: how plain reads fall back when the change log is applied too late, or by no invalidator.
//!
//! A plain read requires no proof, so without an objective it would return values until their time to live ends even if the
//! invalidator died. The objective bounds that: while the watermark is older than it, a value is served by its age, or not
//! at all, and loads pass the cache's [bulkhead](crate::CacheSettings::loads_max) as always. Reads return to normal with
//! the first watermark that is young enough; values that are cached by then are valid and are served again, so there is no
//! burst of loads.

use std::time::Duration;

use crate::cache::level::Evidence;
use crate::clock::Timestamp;
use crate::settings::{CacheSettings, OnLag};

/// A cache's freshness objective.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    objective: Duration,
    on_lag: OnLag,
    clock_skew: Duration,
}

impl Freshness {
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        Self { objective: settings.freshness_objective, on_lag: settings.on_lag, clock_skew: settings.clock_skew }
    }

    /// Returns true if the watermark is young enough. A watermark in the future comes from a wrong clock and is not.
    pub(crate) fn is_met(&self, source_time: Timestamp, now: Timestamp) -> bool {
        let evidence = Evidence { source_time, ..Evidence::default() };
        self.on_lag == OnLag::Serve || self.is_within(&evidence, now, self.objective)
    }

    /// Returns true if a value that was loaded at this time is served while the watermark is too old.
    pub(crate) fn serves(&self, filled_at: Timestamp, now: Timestamp) -> bool {
        match self.on_lag {
            OnLag::Serve => true,
            OnLag::Bypass => false,
            OnLag::ShortenTtl(ttl) => self.is_within(&Evidence { filled_at, ..Evidence::default() }, now, ttl),
        }
    }

    fn is_within(&self, evidence: &Evidence<'_>, now: Timestamp, allowed: Duration) -> bool {
        evidence.staleness_bound(now, self.clock_skew).is_some_and(|bound| bound <= allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(ms * 1_000)
    }

    fn freshness(on_lag: OnLag) -> Freshness {
        let objective = Duration::from_millis(1_000);
        Freshness::new(&CacheSettings { freshness_objective: objective, on_lag, ..CacheSettings::default() })
    }

    #[test]
    fn the_objective_includes_the_clock_skew_and_needs_a_watermark() {
        let freshness = freshness(OnLag::Bypass);
        let (source_time, skew) = (at(5_000), 50);
        assert!(freshness.is_met(source_time, at(6_000 - skew)));
        assert!(!freshness.is_met(source_time, at(6_001 - skew)));
        assert!(!freshness.is_met(Timestamp::UNKNOWN, at(10)));
        assert!(!freshness.is_met(at(90_000), at(5_000)), "a watermark in the future");
    }

    #[test]
    fn a_value_is_served_in_lag_by_its_age() {
        let shortened = freshness(OnLag::ShortenTtl(Duration::from_millis(200)));
        assert!(shortened.serves(at(5_000), at(5_150)));
        assert!(!shortened.serves(at(5_000), at(5_151)));
        assert!(!shortened.serves(Timestamp::UNKNOWN, at(5)), "loaded from a replica");
        assert!(!freshness(OnLag::Bypass).serves(at(5_000), at(5_000)));
        assert!(freshness(OnLag::Serve).serves(Timestamp::UNKNOWN, at(5_000)));
        assert!(freshness(OnLag::Serve).is_met(Timestamp::UNKNOWN, at(5_000)));
    }
}
