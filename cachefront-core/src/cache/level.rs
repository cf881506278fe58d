//! Consistency levels: whether a value satisfies a session or bounded read.
//!
//! | level | requirement | evidence for a cached value |
//! |---|---|---|
//! | eventual | none | none |
//! | session, `at_least(token)` | contains the commits of the token | its fill position, or the applied position, covers the token |
//! | bounded, `max_staleness(d)` | was current within the last `d`, or since the read began | its load began, or the source time is, within `d` less the clock skew |
//! | strong, `bypass()` | comes from the database | not served from a cache |
//!
//! Missing evidence is never replaced by an assumption: such a value is loaded again.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::position::Position;

/// What a reader requires beyond the newest applied invalidation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// The value must contain these commits.
    pub(crate) at_least: Option<Position>,
    /// The value must have been current within this time.
    pub(crate) max_staleness: Option<Duration>,
    /// Read the database without the tiers, and require no proof.
    pub(crate) bypass: bool,
    /// Return what is known about the value, not the value alone.
    pub(crate) detailed: bool,
}

impl Level {
    /// Requires the commits of `token` too.
    pub(crate) fn add_token(&mut self, token: &Position) {
        self.at_least.get_or_insert_default().union(token);
    }

    /// Requires the tighter of this bound and `duration`.
    pub(crate) fn add_bound(&mut self, duration: Duration) {
        self.max_staleness = Some(self.max_staleness.map_or(duration, |bound| bound.min(duration)));
    }
}

/// Defines the methods of a read that set its level, for a type with a method `level`.
macro_rules! read_levels {
    () => {
        /// Requires a value that contains the commits of `token`: read-your-writes, also across processes that hand on their
        /// tokens. `None` requires nothing, and of several tokens all are required. A value without proof is loaded from the
        /// database. Default: no token.
        pub fn at_least(mut self, token: impl $crate::cache::IntoToken) -> Self {
            if let Some(token) = token.into_token() {
                self.level().add_token(&token);
            }
            self
        }

        /// Requires a value that was current at some moment within the last `duration`, a `Duration` or an option of one; of
        /// several, the shortest. A value without proof is loaded from the database, and is then as old as its load:
        /// [`Hit::staleness_bound`](crate::Hit::staleness_bound) says how old. Default: no bound but the time to live.
        pub fn max_staleness(mut self, duration: impl Into<Option<::std::time::Duration>>) -> Self {
            if let Some(duration) = duration.into() {
                self.level().add_bound(duration);
            }
            self
        }

        /// Reads the database without the tiers, and does not cache the value: the strong level. Tokens and bounds are not
        /// checked. Default: the tiers are read first.
        pub fn bypass(mut self) -> Self {
            self.level().bypass = true;
            self
        }
    };
}
pub(crate) use read_levels;

/// What is known about a value's freshness.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evidence<'a> {
    /// What the loader's server had executed before the read.
    pub(crate) loaded: Option<&'a Position>,
    /// Every invalidation up to here is done, and the value is still cached.
    pub(crate) applied: Option<&'a Position>,
    /// The clock before the load.
    pub(crate) filled_at: Timestamp,
    /// When `applied` was the source's end.
    pub(crate) source_time: Timestamp,
}

impl Evidence<'_> {
    /// Returns a time before `now` within which the value was current; `None` if no bound is known. A time that lies
    /// further in the future than clocks may differ comes from a wrong clock and is ignored.
    pub(crate) fn staleness_bound(&self, now: Timestamp, clock_skew: Duration) -> Option<Duration> {
        let credible = |time: &Timestamp| time.is_known() && *time <= now.after(clock_skew);
        let latest = [self.filled_at, self.source_time].into_iter().filter(credible).max()?;
        Some(now.since(latest).saturating_add(clock_skew))
    }
}

impl Level {
    /// No requirement.
    pub(crate) const EVENTUAL: Self = Self { at_least: None, max_staleness: None, bypass: false, detailed: false };

    /// Returns true if there is no requirement: the eventual level.
    pub(crate) fn is_eventual(&self) -> bool {
        self.at_least.is_none() && self.max_staleness.is_none()
    }

    /// Returns true if the reader requires a bound on staleness, or gets one: then the server that a value is loaded from counts.
    pub(crate) fn bounds_staleness(&self) -> bool {
        self.max_staleness.is_some() || self.detailed
    }

    /// Returns true if a value that was just loaded satisfies the read. A value from the server whose log is followed does,
    /// unless its loader says that the token is missing; a value from another server must contain the token, and never
    /// bounds staleness.
    pub(crate) fn accepts_loaded(&self, position: Option<&Position>, primary: bool) -> bool {
        if self.bypass {
            return true;
        }
        let contains = self.at_least.as_ref().is_none_or(|token| match position {
            Some(position) => position.covers(token),
            None => primary,
        });
        contains && (primary || self.max_staleness.is_none())
    }

    /// Returns true if the evidence proves every requirement.
    pub(crate) fn is_proven(&self, evidence: &Evidence<'_>, now: Timestamp, clock_skew: Duration) -> bool {
        let contains = self.at_least.as_ref().is_none_or(|token| {
            evidence.loaded.is_some_and(|loaded| loaded.covers(token))
                || evidence.applied.is_some_and(|applied| applied.covers(token))
        });
        contains
            && self
                .max_staleness
                .is_none_or(|allowed| evidence.staleness_bound(now, clock_skew).is_some_and(|bound| bound <= allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        text.parse().expect("a position")
    }

    #[test]
    fn a_session_is_proven_by_the_load_or_by_what_was_applied() {
        let level = Level { at_least: Some(position("a:5")), ..Level::default() };
        let (below, above) = (position("a:1-4"), position("a:1-5"));
        let now = Timestamp::from_micros(1);
        let proven = |loaded, applied| {
            level.is_proven(&Evidence { loaded, applied, ..Evidence::default() }, now, Duration::ZERO)
        };
        assert!(!proven(None, None));
        assert!(!proven(Some(&below), Some(&below)));
        assert!(proven(Some(&above), Some(&below)));
        assert!(proven(None, Some(&above)));
    }

    #[test]
    fn a_loaded_value_must_contain_the_token() {
        let token = Level { at_least: Some(position("a:5")), ..Level::default() };
        let bound = Level { max_staleness: Some(Duration::from_secs(9)), ..Level::default() };
        let (below, above) = (position("a:1-4"), position("a:1-5"));
        for (level, position, primary, accepted) in [
            (&token, Some(&below), true, false),
            (&token, Some(&above), true, true),
            (&token, Some(&below), false, false),
            (&token, Some(&above), false, true),
            (&token, None, true, true),
            (&token, None, false, false),
            (&bound, Some(&above), true, true),
            (&bound, None, true, true),
            (&bound, Some(&above), false, false),
            (&Level::default(), None, false, true),
        ] {
            assert_eq!(level.accepts_loaded(position, primary), accepted, "{level:?} {position:?} {primary}");
        }
    }

    #[test]
    fn a_bound_counts_from_the_later_time_and_includes_skew() {
        let level = Level { max_staleness: Some(Duration::from_millis(100)), ..Level::default() };
        let at = |ms: u64| Timestamp::from_micros(ms * 1000);
        let skew = Duration::from_millis(10);
        let proven = |filled_at, source_time, now| {
            level.is_proven(&Evidence { filled_at, source_time, ..Evidence::default() }, now, skew)
        };
        assert!(proven(at(1000), Timestamp::UNKNOWN, at(1090)));
        assert!(!proven(at(1000), Timestamp::UNKNOWN, at(1091)));
        assert!(proven(at(1000), at(5000), at(5090)));
        assert!(!proven(Timestamp::UNKNOWN, Timestamp::UNKNOWN, at(1)));
        assert!(proven(Timestamp::UNKNOWN, at(5000), at(4995)), "clocks may differ by the allowance");
        assert!(!proven(Timestamp::UNKNOWN, at(9000), at(5000)), "a time in the future is ignored");
        assert!(proven(at(4990), at(9000), at(5000)), "and does not hide a credible one");
    }
}
