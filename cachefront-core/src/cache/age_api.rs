//! The age of values in the public interface: how old they may be, and what is served while one is loaded again.

use std::time::Duration;

use crate::cache::builder::CacheBuilder;
use crate::settings::OnLag;

impl<K, V, C> CacheBuilder<K, V, C> {
    /// Sets what plain reads do while the change log is applied later than `objective`, or by no invalidator: the two
    /// settings [`freshness_objective`](crate::CacheSettings::freshness_objective) and [`on_lag`](crate::CacheSettings::on_lag).
    ///
    /// With [`OnLag::ShortenTtl`] a plain read is never older than `objective`, plus that time, plus its own load. Session
    /// and bounded reads prove more and are not affected; a cache that is kept correct by time has no objective.
    ///
    /// Default: 10 s and `ShortenTtl` of 10 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachefront::{Cache, CacheBuilder, OnLag};
    ///
    /// let users: CacheBuilder<u64, String> = Cache::builder("users")
    ///     .freshness_objective(Duration::from_secs(2), OnLag::ShortenTtl(Duration::from_secs(5)));
    /// ```
    pub fn freshness_objective(mut self, objective: Duration, on_lag: OnLag) -> Self {
        self.ages.objective = Some((objective, on_lag));
        self
    }

    /// Serves a value for this long after its time to live, while one process loads it again in the background: no reader
    /// waits when a hot value expires. Invalidations take effect at once, as always.
    ///
    /// Sets [`CacheSettings::stale_while_revalidate`](crate::CacheSettings::stale_while_revalidate). Default: 0: a value that has expired is a miss.
    pub fn stale_while_revalidate(mut self, duration: Duration) -> Self {
        self.ages.stale_while_revalidate = Some(duration);
        self
    }

    /// Loads values again in the background before their time to live ends, at random, so that hot values do not expire at
    /// all: 1.0 is a good value, more is earlier (XFetch).
    ///
    /// Sets [`CacheSettings::early_refresh`](crate::CacheSettings::early_refresh). Default: 0.0: never.
    pub fn early_refresh(mut self, factor: f64) -> Self {
        self.ages.early_refresh = Some(factor);
        self
    }

    /// Serves a plain read whose load fails the last value that this process had, if it is at most this old, although it was
    /// invalidated or has expired. Needs a process-local tier, which keeps such values. [`Hit::stale`](crate::Hit::stale) is then
    /// true; session and bounded reads, and reads of other keys, return the error.
    ///
    /// Sets [`CacheSettings::stale_if_error`](crate::CacheSettings::stale_if_error). Default: 0: an error is returned.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cachefront::{Cache, CacheBuilder, Local};
    ///
    /// let users: CacheBuilder<u64, String> = Cache::builder("users")
    ///     .local(Local::max_weight(64 << 20))
    ///     .stale_if_error(Duration::from_secs(600))
    ///     .load_soft_timeout(Duration::from_millis(200));
    /// ```
    pub fn stale_if_error(mut self, age_max: Duration) -> Self {
        self.ages.stale_if_error = Some(age_max);
        self
    }

    /// Waits this long for a load if there is a value for [`stale_if_error`](Self::stale_if_error), and then serves that value;
    /// the load goes on and its value is stored. Needs `stale_if_error`.
    ///
    /// Sets [`CacheSettings::load_soft_timeout`](crate::CacheSettings::load_soft_timeout). Default: 0: it waits for the load.
    pub fn load_soft_timeout(mut self, duration: Duration) -> Self {
        self.ages.load_soft_timeout = Some(duration);
        self
    }
}
