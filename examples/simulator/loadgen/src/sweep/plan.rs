//! What a sweep measures.

use std::time::Duration;

use crate::load::LoadPlan;

/// The TTLs (lifetimes of entries) of a sweep, unless others are named.
pub const TTLS_DEFAULT: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(300)];

/// The number of seeds, unless another one is named: enough to see whether a difference is larger than the spread.
pub const SEEDS_DEFAULT: u64 = 3;

/// The length of one measurement, unless another one is named.
pub const EACH_DEFAULT: Duration = Duration::from_secs(20);

/// Maximum number of TTLs and of seeds: the API has a cache for each TTL, and time grows with both.
const TTLS_MAX: usize = 8;
const SEEDS_MAX: u64 = 5;

/// Shortest and longest TTL.
const TTL_MIN: Duration = Duration::from_millis(10);
const TTL_MAX: Duration = Duration::from_secs(3_600);

/// The plan of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepPlan {
    /// One measurement; its seed is the first one.
    pub load: LoadPlan,
    /// The TTLs, the shortest first.
    pub ttls: Vec<Duration>,
    /// How many seeds each TTL is measured with.
    pub seeds: u64,
}

impl SweepPlan {
    /// Returns the number of measurements: each TTL, and CDC mode, with every seed.
    pub fn parts(&self) -> u64 {
        (self.ttls.len() as u64 + 1).saturating_mul(self.seeds)
    }

    /// Returns the length of all measurements together. Switching the mode takes some seconds more.
    pub fn length(&self) -> Duration {
        self.load.length().saturating_mul(u32::try_from(self.parts()).unwrap_or(u32::MAX))
    }

    /// Returns the plan of the measurement with a seed, counted from zero. Goals do not count: those on staleness cannot be
    /// met by age.
    pub(super) fn with_seed(&self, number: u64) -> LoadPlan {
        LoadPlan { seed: self.load.seed.wrapping_add(number), thresholds: Vec::new(), ..self.load.clone() }
    }

    /// Checks that every value is within its range, and that all measurements together take at most `length_max`.
    ///
    /// # Errors
    /// A line that says what is out of range.
    pub fn check(&self, length_max: Duration) -> Result<(), String> {
        self.load.check()?;
        if !(1..=TTLS_MAX).contains(&self.ttls.len()) {
            return Err(format!("a sweep has 1 to {TTLS_MAX} TTLs"));
        }
        if self.ttls.iter().any(|ttl| !(TTL_MIN..=TTL_MAX).contains(ttl)) {
            return Err("a TTL is 10ms to 1h".to_owned());
        }
        if !self.ttls.is_sorted_by(|one, next| one < next) {
            return Err("the TTLs have to rise, each of them once".to_owned());
        }
        if !(1..=SEEDS_MAX).contains(&self.seeds) {
            return Err(format!("a sweep has 1 to {SEEDS_MAX} seeds"));
        }
        if self.length() > length_max {
            return Err(format!(
                "the sweep would take {:.0?} and has the mode for itself: at most {length_max:.0?} (CACHEFRONT_SWEEP_MAX); \
                 shorten the measurements, or name fewer TTLs",
                self.length()
            ));
        }
        Ok(())
    }
}

/// Parses TTLs, separated by commas.
///
/// # Errors
/// A line that says what to write.
pub fn parse_ttls(text: &str) -> Result<Vec<Duration>, String> {
    let parse = |part: &str| simulator_cli::duration::parse("a TTL", part).map_err(|error| error.to_string());
    text.split(',').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::stage::Stage;

    const LONG: Duration = Duration::from_secs(1_800);

    fn plan(ttls: &str, seeds: u64) -> SweepPlan {
        let stages = vec![Stage::steady(EACH_DEFAULT, 100.0)];
        let load = LoadPlan { stages, ..LoadPlan::default() };
        SweepPlan { load, ttls: parse_ttls(ttls).expect("TTLs"), seeds }
    }

    #[test]
    fn the_length_is_that_of_all_measurements_and_is_bounded() {
        let usual = plan("1s,5s,30s,300s", SEEDS_DEFAULT);
        assert_eq!(usual.ttls, TTLS_DEFAULT);
        assert_eq!((usual.parts(), usual.length()), (15, Duration::from_secs(300)));
        usual.check(LONG).expect("in range");
        let message = usual.check(Duration::from_secs(299)).expect_err("too long");
        assert!(message.contains("CACHEFRONT_SWEEP_MAX"), "{message}");
        assert_eq!((usual.with_seed(0).seed, usual.with_seed(2).seed), (42, 44));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (ttls, seeds, hint) in [
            ("5s,1s", 3, "rise"),
            ("1s,1s", 3, "rise"),
            ("1ms", 3, "10ms to 1h"),
            ("2h", 3, "10ms to 1h"),
            ("1s", 0, "seeds"),
            ("1s", 6, "seeds"),
            ("1s", u64::MAX, "seeds"),
            ("1s,2s,3s,4s,5s,6s,7s,8s,9s", 1, "TTLs"),
        ] {
            let message = plan(ttls, seeds).check(LONG).expect_err(ttls);
            // The form's field is called TTLs, and so is what is wrong with it.
            assert!(message.contains(hint) && !message.contains("lifetime"), "{message}");
        }
        let message = parse_ttls("1").expect_err("no unit");
        assert!(message.contains("unit") && message.contains("TTL"), "{message}");
        assert!(parse_ttls("").is_err());
    }
}
