//! How long values live in a world's caches, and what is served in their place.

use std::time::Duration;

use cachefront_core::{CacheSettings, OnLag};

use crate::clock::millis;
use crate::random::Random;

/// Times of a cache, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    /// How long a value lives, and how long the absence of a row does.
    pub(crate) ttl: u64,
    pub(crate) negative_ttl: u64,
    /// How long a value is served after that.
    pub(crate) late: u64,
    /// How early values are loaded again.
    early: f64,
    /// How old a value may be that is served if its load fails; 0 for never.
    pub(crate) stale: u64,
    /// How long a key is not loaded again after a failure.
    pub(crate) throttle: u64,
    /// How long a load is waited for if there is such a value; 0 for as long as it takes.
    pub(crate) soft_timeout: u64,
    /// How old the watermark may be.
    pub(crate) objective: u64,
    pub(crate) on_lag: OnLag,
    /// How many of a hundred loads fail, in addition to one.
    pub(crate) failing: u64,
}

impl Lives {
    /// In half of the worlds values live for long, and nothing is served in their place.
    pub(crate) fn draw(random: &Random) -> Self {
        if random.chance(500) {
            return Self::long();
        }
        Self::mixed(random)
    }

    /// Values live for long, and nothing is served in their place.
    pub(crate) fn long() -> Self {
        Self {
            ttl: 20_000,
            negative_ttl: 5_000,
            late: 0,
            early: 0.0,
            stale: 0,
            throttle: 0,
            soft_timeout: 0,
            objective: 10_000,
            on_lag: OnLag::ShortenTtl(millis(10_000)),
            failing: 0,
        }
    }

    fn mixed(random: &Random) -> Self {
        let ttl = [20_000, 1_000, 150][random.index(3)];
        let lags = [OnLag::Serve, OnLag::Bypass, OnLag::ShortenTtl(millis([50, 300][random.index(2)]))];
        Self {
            ttl,
            negative_ttl: ttl / 2,
            late: [0, 100, 1_000][random.index(3)],
            early: [0.0, 1.0, 30.0][random.index(3)],
            stale: [0, 200, 2_000][random.index(3)],
            throttle: [1, 50, 500][random.index(3)],
            soft_timeout: [0, 2, 20][random.index(3)],
            objective: [100, 300, 10_000][random.index(3)],
            on_lag: lags[random.index(3)],
            failing: [0, 5, 30][random.index(3)],
        }
    }

    /// Only a tier of the process itself has values that may be served if a load fails.
    pub(crate) fn apply(&self, settings: &mut CacheSettings, local: bool) {
        settings.stale_while_revalidate = millis(self.late);
        settings.early_refresh = self.early;
        if local && self.stale > 0 {
            settings.stale_if_error = millis(self.stale);
            settings.stale_if_error_throttle = millis(self.throttle);
            settings.load_soft_timeout = millis(self.soft_timeout);
        }
        settings.freshness_objective = millis(self.objective);
        settings.on_lag = self.on_lag;
    }

    /// True if what was read a moment ago is in the store at rest.
    pub(crate) fn keeps_values(&self) -> bool {
        self.ttl == 20_000 && (self.objective == 10_000 || self.on_lag == OnLag::Serve)
    }

    /// How long a value may be served, counted from the begin of its load.
    pub(crate) fn longest(&self, negative: bool, from_store: bool) -> Duration {
        let ttl = if negative { self.negative_ttl } else { self.ttl };
        millis(if from_store { ttl + self.late } else { ttl })
    }

    /// How old a plain read's value may be; none if only its time to live bounds it. A process's own tier learns from the
    /// silence of the bus that the watermark does not move.
    pub(crate) fn oldest(&self, silence: Duration) -> Option<Duration> {
        let objective = millis(self.objective) + silence;
        match self.on_lag {
            OnLag::ShortenTtl(ttl) => Some(objective.max(ttl)),
            OnLag::Bypass => Some(objective),
            _ => None,
        }
    }
}
