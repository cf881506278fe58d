//! Settings of the caches. They must be the same in all roles.

use std::time::Duration;

use cachefront::OnLag;
use simulator_cli::{CliError, duration};

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
        Ok(CacheOptions { ttl, freshness: FreshnessObjective { objective, on_lag }, fenced })
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
