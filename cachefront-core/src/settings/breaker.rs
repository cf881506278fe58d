//! The settings of a circuit breaker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// When a circuit breaker opens, and when it tries again.
///
/// A breaker counts the calls of a server within a window. If too many of them failed, or were slow, it *opens*: calls are
/// refused at once. After a pause one call goes through as a probe; the breaker closes if it succeeds, and else pauses for
/// twice as long. Pauses are shortened by a random part of up to a half, so that processes do not probe in step.
///
/// ```
/// use std::time::Duration;
/// use cachefront::{BreakerSettings, CacheSettings};
///
/// let settings = CacheSettings::default()
///     .with_store_breaker(BreakerSettings::of_store().with_slow(Duration::from_millis(50)))
///     .with_load_breaker(BreakerSettings::of_loads().with_enabled(true));
/// settings.validate()?;
/// # Ok::<(), cachefront::Error>(())
/// ```
///
/// Deserialized by itself, a missing field has the default of a store. In [`CacheSettings`](crate::CacheSettings) a missing field
/// of `load_breaker` has the default of loads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// Whether it opens at all. Default: `true` for a store, `false` for loads.
    pub enabled: bool,
    /// Minimum number of failed or slow calls in a window before it opens: a single failure says little. Default: 5.
    pub failures_min: u32,
    /// The part of the calls in a window that must have failed or been slow before it opens, above 0.0 up to 1.0.
    /// Default: 0.8, so that while one of a few shards of a store is away, those that are there are still read.
    pub failures_share: f64,
    /// How long calls are counted. Default: 10 s.
    pub window: Duration,
    /// A call that takes this long counts as failed. Default: 100 ms for a store, 5 s for loads.
    pub slow: Duration,
    /// The first pause before a probe; it doubles with each probe that fails. Default: 250 ms for a store, 1 s for loads.
    pub open_min: Duration,
    /// The longest pause before a probe. Default: 2 s for a store, so that readers recover soon after an outage ends; 30 s for
    /// loads, so that a database that is overloaded recovers.
    pub open_max: Duration,
}

impl BreakerSettings {
    /// Returns the defaults for a shared store: on, and a call of 100 ms is slow, which is a hundred times as long as in a
    /// healthy network.
    pub const fn of_store() -> Self {
        Self {
            enabled: true,
            failures_min: 5,
            failures_share: 0.8,
            window: Duration::from_secs(10),
            slow: Duration::from_millis(100),
            open_min: Duration::from_millis(250),
            open_max: Duration::from_secs(2),
        }
    }

    /// Returns the defaults for a database: off, because only the service knows whether an error of its loader means that
    /// the database is in trouble; and a load of 5 s is slow.
    pub const fn of_loads() -> Self {
        let (slow, open_min, open_max) = (Duration::from_secs(5), Duration::from_secs(1), Duration::from_secs(30));
        Self { enabled: false, slow, open_min, open_max, ..Self::of_store() }
    }

    settings_setters! {
        with_enabled = enabled: bool;
        with_failures_min = failures_min: u32;
        with_failures_share = failures_share: f64;
        with_window = window: Duration;
        with_slow = slow: Duration;
        with_open_min = open_min: Duration;
        with_open_max = open_max: Duration;
    }

    /// Checks every field. `name` is that of the breaker in the settings that it is part of.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is out of range.
    pub(super) fn validate(&self, name: &str) -> Result<()> {
        let wrong = |field: &str, advice: &str| {
            Err(Error::new(ErrorKind::Config, format!("`{name}.{field}` is out of range: give {advice}")))
        };
        let durations =
            [("window", self.window), ("slow", self.slow), ("open_min", self.open_min), ("open_max", self.open_max)];
        if let Some((field, _)) = durations.iter().find(|(_, duration)| duration.is_zero()) {
            return wrong(field, "a duration above zero");
        }
        if self.failures_min == 0 {
            return wrong("failures_min", "at least 1");
        }
        if !(self.failures_share > 0.0 && self.failures_share <= 1.0) {
            return wrong("failures_share", "a number above 0.0 up to 1.0");
        }
        Ok(())
    }
}

/// Deserializes the breaker of loads: a missing field has the default of [`BreakerSettings::of_loads`].
#[derive(Deserialize)]
#[serde(remote = "BreakerSettings", default = "BreakerSettings::of_loads", deny_unknown_fields)]
pub(super) struct LoadBreaker {
    enabled: bool,
    failures_min: u32,
    failures_share: f64,
    window: Duration,
    slow: Duration,
    open_min: Duration,
    open_max: Duration,
}

impl Default for BreakerSettings {
    /// Those of a store, [`of_store`](Self::of_store).
    fn default() -> Self {
        Self::of_store()
    }
}
