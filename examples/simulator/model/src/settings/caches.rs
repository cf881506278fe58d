//! Settings of the caches. They must be the same in all roles.

use std::time::Duration;

use cachefront::OnLag;
use serde::Serialize;
use simulator_cli::{CliError, duration};
use utoipa::ToSchema;

use super::flags::Flags;
use super::lookup::Lookup;
use crate::freshness::FreshnessObjective;

/// How the caches are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// How long an entry may live.
    pub ttl: Duration,
    pub freshness: FreshnessObjective,
    /// A loaded value is kept only if the server that was read had executed what was invalidated before the load.
    pub fenced: bool,
    /// A change replaces the cached value by one that is made from the row, instead of removing the entry.
    pub refresh_in_place: bool,
    /// If a load fails, or takes longer than 200 ms, a plain read is served the last value of this process, of at most this
    /// age; zero for never.
    pub stale_if_error: Duration,
}

/// How the caches are built, as the API reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BuiltWith {
    /// Maximum lifetime of an entry (TTL).
    pub ttl_ms: u64,
    /// A loaded value is kept only if the server that was read had executed what was invalidated before the load.
    pub fenced: bool,
    /// A change replaces the cached value by one that is made from the row, instead of removing the entry.
    pub refresh_in_place: bool,
    /// If a load fails or is slow, a plain read is served the last value of this process, of at most this age; 0 for never.
    pub stale_if_error_ms: u64,
}

impl CacheOptions {
    pub fn built_with(&self) -> BuiltWith {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        BuiltWith {
            ttl_ms: millis(self.ttl),
            fenced: self.fenced,
            refresh_in_place: self.refresh_in_place,
            stale_if_error_ms: millis(self.stale_if_error),
        }
    }
}

const OBJECTIVE: &str = "CACHEFRONT_FRESHNESS_OBJECTIVE";
const ON_LAG: &str = "CACHEFRONT_ON_LAG";
const OBJECTIVE_DEFAULT: Duration = Duration::from_secs(10);
const ON_LAG_DEFAULT: OnLag = OnLag::ShortenTtl(Duration::from_secs(10));

impl Lookup<'_> {
    pub(super) fn caches(&self, flags: &Flags) -> Result<CacheOptions, CliError> {
        let ttl = self.duration("CACHEFRONT_TTL", &flags.ttl)?.unwrap_or(Duration::from_secs(30));
        let objective = self.duration(OBJECTIVE, &flags.freshness_objective)?.unwrap_or(OBJECTIVE_DEFAULT);
        let on_lag = match self.text(ON_LAG, &flags.on_lag).as_deref() {
            None => ON_LAG_DEFAULT,
            Some("bypass") => OnLag::Bypass,
            Some("serve") => OnLag::Serve,
            Some(text) => match duration::parse(ON_LAG, text) {
                Ok(age) => OnLag::ShortenTtl(age),
                Err(_) => {
                    return Err(CliError::new(format!("{ON_LAG} is none of bypass, serve and a duration such as 10s")));
                }
            },
        };
        let fenced = flags.fenced || self.switch("CACHEFRONT_FENCED")?;
        let refresh_in_place = flags.refresh_in_place || self.switch("CACHEFRONT_REFRESH_IN_PLACE")?;
        let stale_if_error = self.duration("CACHEFRONT_STALE_IF_ERROR", &flags.stale_if_error)?.unwrap_or_default();
        let freshness = FreshnessObjective { objective, on_lag };
        Ok(CacheOptions { ttl, freshness, fenced, refresh_in_place, stale_if_error })
    }
}

#[cfg(test)]
mod tests {
    use simulator_cli::Environment;

    use super::*;

    fn caches(pairs: &[(&str, &str)]) -> Result<CacheOptions, CliError> {
        Lookup { environment: &Environment::of(pairs) }.caches(&Flags::default())
    }

    #[test]
    fn beyond_the_objective_reads_go_by_age_load_or_are_served() {
        let default = caches(&[]).expect("defaults").freshness;
        assert_eq!((default.objective, default.on_lag), (OBJECTIVE_DEFAULT, ON_LAG_DEFAULT));
        for (text, on_lag) in
            [("bypass", OnLag::Bypass), ("serve", OnLag::Serve), ("2s", OnLag::ShortenTtl(Duration::from_secs(2)))]
        {
            assert_eq!(caches(&[(ON_LAG, text)]).expect(text).freshness.on_lag, on_lag);
        }
        for (name, text) in [(ON_LAG, "maybe"), (OBJECTIVE, "0s"), (OBJECTIVE, "soon")] {
            let message = caches(&[(name, text)]).expect_err(text).to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
