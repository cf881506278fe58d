//! What is asked for: a seeded sequence of reads and writes, some users far more often than others.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

use crate::config::LoadFlags;

/// A user that is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Known {
    pub(super) id: u64,
    /// Kept by every write, so that no two users want the same.
    pub(super) email: String,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Read { id: u64 },
    Write { user: Arc<Known>, name: String },
}

/// An endless sequence of requests; the same seed gives the same one.
#[derive(Debug)]
pub(super) struct Mix {
    random: StdRng,
    users: Vec<Arc<Known>>,
    /// For each user the probability that it or one before it is asked for: Zipf's law over the order of `users`.
    cumulated: Vec<f64>,
    writes: f64,
    counter: u64,
}

impl Mix {
    pub(super) fn new(users: Vec<Known>, flags: &LoadFlags) -> Self {
        let weights = (1..=users.len()).map(|rank| (rank as f64).powf(-flags.skew));
        let total: f64 = weights.clone().sum();
        let cumulated = weights
            .scan(0.0, |sum, weight| {
                *sum += weight / total;
                Some(*sum)
            })
            .collect();
        let users = users.into_iter().map(Arc::new).collect();
        Self { random: StdRng::seed_from_u64(flags.seed), users, cumulated, writes: flags.writes, counter: 0 }
    }

    pub(super) fn next(&mut self) -> Request {
        let (kind, place): (f64, f64) = (self.random.random(), self.random.random());
        let rank = self.cumulated.partition_point(|&up_to| up_to < place).min(self.users.len() - 1);
        let user = &self.users[rank];
        if kind >= self.writes {
            return Request::Read { id: user.id };
        }
        self.counter += 1;
        Request::Write { user: Arc::clone(user), name: format!("load {}", self.counter) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(writes: f64, skew: f64) -> LoadFlags {
        LoadFlags { rate: 1.0, duration: "1s".into(), users: 100, writes, skew, seed: 7, in_flight: 1, json: false }
    }

    #[test]
    fn the_same_seed_asks_the_same_and_the_hot_are_hot() {
        let take = |flags: &LoadFlags| {
            let mut mix = Mix::new((1..=100).map(|id| Known { id, email: String::new() }).collect(), flags);
            (0..2_000).map(|_| mix.next()).collect::<Vec<_>>()
        };
        let skewed = take(&flags(0.1, 1.1));
        assert_eq!(skewed, take(&flags(0.1, 1.1)));
        let first =
            |requests: &[Request]| requests.iter().filter(|request| matches!(request, Request::Read { id: 1 })).count();
        assert!(first(&skewed) > 200, "{}", first(&skewed));
        assert!(first(&take(&flags(0.1, 0.0))) < 60);
        let writes = skewed.iter().filter(|request| matches!(request, Request::Write { .. })).count();
        assert!((120..300).contains(&writes), "{writes}");
    }
}
