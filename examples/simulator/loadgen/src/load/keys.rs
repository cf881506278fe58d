//! Distributions of requests over rows: uniform, skewed towards hot rows, or towards the last written ones.

use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Zipf};
use serde::Serialize;

/// Distribution of requests over rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "distribution", rename_all = "snake_case")]
pub enum Keys {
    /// The n-th row gets `n^-exponent` times as many requests as the first.
    Zipf { exponent: f64 },
    /// All rows are equally likely.
    Uniform,
    /// The share `rows` of all rows gets the share `requests` of all requests.
    Hotspot { rows: f64, requests: f64 },
    /// Recently written rows are read most, by Zipf's law; writes are uniform.
    Latest { exponent: f64 },
}

impl Keys {
    /// Checks the parameters.
    ///
    /// # Errors
    /// A line that names the flag that is out of range.
    pub(super) fn check(&self) -> Result<(), String> {
        let part = |value: f64| value > 0.0 && value <= 1.0;
        match *self {
            Self::Zipf { exponent } | Self::Latest { exponent } if !(0.0..=10.0).contains(&exponent) => {
                Err("--skew is out of range: give 0 to 10".to_owned())
            }
            Self::Hotspot { rows, requests } if !(part(rows) && part(requests)) => {
                Err("--hot-rows and --hot-requests are out of range: give above 0, up to 1".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zipf { exponent } => write!(f, "Zipf {exponent}"),
            Self::Uniform => f.write_str("uniform"),
            Self::Hotspot { rows, requests } => {
                write!(f, "hotspot: {} % of requests to {} % of rows", requests * 100.0, rows * 100.0)
            }
            Self::Latest { exponent } => write!(f, "latest written, Zipf {exponent}"),
        }
    }
}

/// Draws indices of rows; index 0 is the hottest row.
#[derive(Debug)]
pub(super) struct Chooser {
    rows: usize,
    keys: Keys,
    /// `None` for the distributions without an exponent.
    zipf: Option<Zipf<f64>>,
    /// For `latest`: rows by the time of their last write, newest last.
    recent: Vec<usize>,
}

impl Chooser {
    /// Creates a chooser for `rows` rows, at least one. `keys` must have passed [`Keys::check`].
    pub(super) fn new(keys: Keys, rows: usize) -> Self {
        let (zipf, recent) = match keys {
            Keys::Zipf { exponent } => (Zipf::new(rows as f64, exponent).ok(), Vec::new()),
            Keys::Latest { exponent } => (Zipf::new(rows as f64, exponent).ok(), (0..rows).collect()),
            Keys::Uniform | Keys::Hotspot { .. } => (None, Vec::new()),
        };
        Self { rows, keys, zipf, recent }
    }

    pub(super) fn draw_read(&mut self, random: &mut StdRng) -> usize {
        match self.keys {
            Keys::Zipf { .. } => self.rank(random),
            Keys::Uniform => random.random_range(0..self.rows),
            Keys::Hotspot { rows, requests } => self.hot(random, rows, requests),
            Keys::Latest { .. } => {
                let rank = self.rank(random);
                self.recent.get(self.rows - 1 - rank).copied().unwrap_or(rank)
            }
        }
    }

    pub(super) fn draw_write(&mut self, random: &mut StdRng) -> usize {
        if !matches!(self.keys, Keys::Latest { .. }) {
            return self.draw_read(random);
        }
        let place = random.random_range(0..self.rows);
        let row = self.recent.remove(place);
        self.recent.push(row);
        row
    }

    fn rank(&self, random: &mut StdRng) -> usize {
        match &self.zipf {
            Some(zipf) => (zipf.sample(random) as usize).clamp(1, self.rows) - 1,
            None => random.random_range(0..self.rows),
        }
    }

    fn hot(&self, random: &mut StdRng, rows: f64, requests: f64) -> usize {
        let hot = ((self.rows as f64 * rows).ceil() as usize).clamp(1, self.rows);
        let is_hot = hot == self.rows || random.random::<f64>() < requests;
        // If all rows are hot, there are no others to choose from.
        if is_hot { random.random_range(0..hot) } else { random.random_range(hot..self.rows) }
    }
}

/// Returns a random number that distinguishes runs.
pub(super) fn run_number(random: &mut impl Rng) -> u32 {
    random.random()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const DRAWS: usize = 20_000;

    /// Returns how often each of 100 rows is read.
    fn drawn(keys: Keys) -> Vec<usize> {
        let (mut random, mut chooser) = (StdRng::seed_from_u64(7), Chooser::new(keys, 100));
        let mut counts = vec![0; 100];
        for _ in 0..DRAWS {
            counts[chooser.draw_read(&mut random)] += 1;
        }
        counts
    }

    #[test]
    fn the_hot_are_hot() {
        let zipf = drawn(Keys::Zipf { exponent: 1.1 });
        assert!(zipf[0] > DRAWS / 5 && zipf[0] > 2 * zipf[2] && zipf[99] > 0, "{zipf:?}");
        let uniform = drawn(Keys::Uniform);
        assert!(uniform.iter().all(|count| (120..290).contains(count)), "{uniform:?}");
        let hot: usize = drawn(Keys::Hotspot { rows: 0.1, requests: 0.9 })[..10].iter().sum();
        assert!((DRAWS * 88 / 100..DRAWS * 92 / 100).contains(&hot), "{hot}");
    }

    #[test]
    fn what_was_written_last_is_read_most() {
        let (mut random, mut chooser) = (StdRng::seed_from_u64(7), Chooser::new(Keys::Latest { exponent: 1.5 }, 100));
        for _ in 0..20 {
            let written = chooser.draw_write(&mut random);
            let reads = (0..200).filter(|_| chooser.draw_read(&mut random) == written).count();
            assert!(reads > 50, "{reads}");
        }
    }

    #[test]
    fn one_row_is_enough_for_all() {
        for keys in [
            Keys::Zipf { exponent: 0.0 },
            Keys::Uniform,
            Keys::Hotspot { rows: 0.5, requests: 0.5 },
            Keys::Latest { exponent: 1.0 },
        ] {
            let (mut random, mut chooser) = (StdRng::seed_from_u64(7), Chooser::new(keys, 1));
            assert_eq!((chooser.draw_read(&mut random), chooser.draw_write(&mut random)), (0, 0), "{keys:?}");
        }
        assert!(Keys::Zipf { exponent: f64::NAN }.check().is_err());
        assert!(Keys::Hotspot { rows: 0.0, requests: 0.5 }.check().is_err());
    }
}
