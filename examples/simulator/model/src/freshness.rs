//! Whether the freshness objective of the caches is met, since when it is not, and what plain reads do meanwhile.

use std::time::Duration;

use cachefront::{CacheSettings, OnLag, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Mode, rfc3339};

/// The freshness objective that the caches are built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessObjective {
    /// Maximum age of the watermark at which plain reads are served as always.
    pub objective: Duration,
    /// What plain reads do beyond it.
    pub on_lag: OnLag,
}

/// Whether the freshness objective is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FreshnessState {
    /// The watermark is young enough.
    Met,
    /// The watermark is too old, or no time is known up to which everything is handled.
    Missed,
    /// The store cannot be read, or no generation is in force.
    Unknown,
    /// TTL mode: there is no watermark, and the time to live decides.
    Off,
}

impl FreshnessState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Unknown => "unknown",
            Self::Off => "off",
        }
    }
}

/// What a plain read does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlainReads {
    /// It is served what is cached.
    Served,
    /// It is served values that were loaded within `age_max_ms`, and loads others again.
    ByAge,
    /// It loads from the database.
    Load,
}

impl PlainReads {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::ByAge => "by_age",
            Self::Load => "load",
        }
    }
}

/// The freshness objective, and whether it is met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Freshness {
    pub state: FreshnessState,
    /// Maximum age of the watermark at which plain reads are served as always.
    #[schema(example = 10_000)]
    pub objective_ms: u64,
    /// Since when the objective is missed: RFC 3339 in UTC, with microseconds. Null if it is not missed, or that is not known.
    pub missed_since: Option<String>,
    /// What plain reads do at present.
    pub plain_reads: PlainReads,
    /// With `by_age`: the maximum age of a value that is served.
    pub age_max_ms: Option<u64>,
}

/// What the store says of the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watermark {
    /// The store cannot be read.
    Unread,
    /// No generation is in force: nothing is cached.
    NoGeneration,
    /// Everything up to this time is handled; unknown before the first heartbeat.
    At(Timestamp),
}

impl FreshnessObjective {
    /// Returns what is known before the store was read.
    pub fn unknown(self, mode: Mode) -> Freshness {
        self.judge(mode, Watermark::Unread, Timestamp::UNKNOWN)
    }

    /// Judges the watermark by the rule of the library's caches.
    pub(crate) fn judge(self, mode: Mode, watermark: Watermark, now: Timestamp) -> Freshness {
        // The caches are built with the default.
        let skew = CacheSettings::default().clock_skew;
        let missed_at = |at: Timestamp| at.after(self.objective.saturating_sub(skew));
        let (state, missed_since, plain_reads) = match (mode, watermark) {
            (Mode::Ttl, _) => (FreshnessState::Off, None, PlainReads::Served),
            // What this process's own tier holds is served as long as its own watermark is young enough.
            (Mode::Cdc, Watermark::Unread | Watermark::NoGeneration) => {
                (FreshnessState::Unknown, None, PlainReads::Load)
            }
            (Mode::Cdc, Watermark::At(at)) if !at.is_known() || at > now.after(skew) => {
                (FreshnessState::Missed, None, self.in_lag())
            }
            (Mode::Cdc, Watermark::At(at)) if now > missed_at(at) => {
                (FreshnessState::Missed, Some(rfc3339(missed_at(at))), self.in_lag())
            }
            (Mode::Cdc, Watermark::At(_)) => (FreshnessState::Met, None, PlainReads::Served),
        };
        let age_max_ms = match self.on_lag {
            OnLag::ShortenTtl(age) if plain_reads == PlainReads::ByAge => Some(millis(age)),
            _ => None,
        };
        Freshness { state, objective_ms: millis(self.objective), missed_since, plain_reads, age_max_ms }
    }

    fn in_lag(self) -> PlainReads {
        match self.on_lag {
            OnLag::Serve => PlainReads::Served,
            OnLag::Bypass => PlainReads::Load,
            // A policy of a later version is not known to serve more.
            _ => PlainReads::ByAge,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(ms * 1_000)
    }

    fn objective(on_lag: OnLag) -> FreshnessObjective {
        FreshnessObjective { objective: Duration::from_secs(2), on_lag }
    }

    #[test]
    fn the_objective_is_missed_once_the_caches_fall_back() {
        let by_age = objective(OnLag::ShortenTtl(Duration::from_secs(5)));
        let judge = |watermark, now| by_age.judge(Mode::Cdc, watermark, now);
        let met = judge(Watermark::At(at(10_000)), at(11_950));
        assert_eq!((met.state, met.plain_reads, met.missed_since), (FreshnessState::Met, PlainReads::Served, None));
        // Clocks may differ by 50 ms.
        let missed = judge(Watermark::At(at(10_000)), at(11_951));
        assert_eq!((missed.state, missed.plain_reads), (FreshnessState::Missed, PlainReads::ByAge));
        assert_eq!((missed.objective_ms, missed.age_max_ms), (2_000, Some(5_000)));
        assert_eq!(missed.missed_since.as_deref(), Some("1970-01-01T00:00:11.950000Z"));
        assert_eq!(judge(Watermark::At(at(10_000)), at(90_000)).missed_since, missed.missed_since, "it stays");
        for watermark in [Timestamp::UNKNOWN, at(90_000)] {
            let missed = judge(Watermark::At(watermark), at(10_000));
            assert_eq!((missed.state, missed.missed_since), (FreshnessState::Missed, None), "{watermark:?}");
        }
    }

    #[test]
    fn plain_reads_follow_the_settings_of_the_caches() {
        let reads = |on_lag| objective(on_lag).judge(Mode::Cdc, Watermark::At(at(1)), at(90_000));
        assert_eq!(reads(OnLag::Bypass).plain_reads, PlainReads::Load);
        assert_eq!((reads(OnLag::Serve).plain_reads, reads(OnLag::Serve).age_max_ms), (PlainReads::Served, None));
        for (mode, watermark, state, reads) in [
            (Mode::Cdc, Watermark::Unread, FreshnessState::Unknown, PlainReads::Load),
            (Mode::Cdc, Watermark::NoGeneration, FreshnessState::Unknown, PlainReads::Load),
            (Mode::Ttl, Watermark::NoGeneration, FreshnessState::Off, PlainReads::Served),
            (Mode::Ttl, Watermark::At(at(1)), FreshnessState::Off, PlainReads::Served),
        ] {
            let said = objective(OnLag::Bypass).judge(mode, watermark, at(90_000));
            assert_eq!((said.state, said.plain_reads), (state, reads), "{mode:?} {watermark:?}");
        }
    }
}
