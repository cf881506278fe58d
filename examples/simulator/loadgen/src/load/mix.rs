//! The seeded sequence of reads and writes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::keys::{Chooser, Keys};

/// Seed offset of the warm-up's generator, so that the measured sequence is the same with any warm-up.
const WARM_UP: u64 = 0x7761_726d_2d75_7021;

/// One request for the row with index `row`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Read {
        row: usize,
    },
    /// Versions are numbered from 1 over the whole run.
    Write {
        row: usize,
        version: u64,
    },
}

/// An endless sequence of requests, determined by the seed.
#[derive(Debug)]
pub(super) struct Mix {
    random: StdRng,
    warm: StdRng,
    chooser: Chooser,
    write_ratio: f64,
    version: u64,
}

impl Mix {
    pub(super) fn new(seed: u64, keys: Keys, rows: usize, write_ratio: f64) -> Self {
        let (random, warm) = (StdRng::seed_from_u64(seed), StdRng::seed_from_u64(seed ^ WARM_UP));
        Self { random, warm, chooser: Chooser::new(keys, rows), write_ratio, version: 0 }
    }

    /// Returns the next measured request.
    pub(super) fn next(&mut self) -> Request {
        Self::draw(&mut self.random, &mut self.chooser, self.write_ratio, &mut self.version)
    }

    /// Returns the next request of the warm-up.
    pub(super) fn next_warm(&mut self) -> Request {
        Self::draw(&mut self.warm, &mut self.chooser, self.write_ratio, &mut self.version)
    }

    fn draw(random: &mut StdRng, chooser: &mut Chooser, write_ratio: f64, version: &mut u64) -> Request {
        if random.random::<f64>() >= write_ratio {
            return Request::Read { row: chooser.draw_read(random) };
        }
        *version += 1;
        Request::Write { row: chooser.draw_write(random), version: *version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, warm_up: usize) -> Vec<Request> {
        let mut mix = Mix::new(seed, Keys::Zipf { exponent: 1.1 }, 100, 0.1);
        for _ in 0..warm_up {
            let _ = mix.next_warm();
        }
        (0..2_000).map(|_| mix.next()).collect()
    }

    #[test]
    fn the_same_seed_asks_for_the_same_whatever_the_warm_up() {
        assert_eq!(drawn(7, 0), drawn(7, 0));
        assert_ne!(drawn(7, 0), drawn(8, 0));
        let rows = |requests: Vec<Request>| -> Vec<(bool, usize)> {
            let of = |request| match request {
                Request::Read { row } => (false, row),
                Request::Write { row, .. } => (true, row),
            };
            requests.into_iter().map(of).collect()
        };
        assert_eq!(rows(drawn(7, 0)), rows(drawn(7, 500)));
    }

    #[test]
    fn writes_are_as_frequent_as_asked_and_their_versions_rise() {
        let written: Vec<u64> = drawn(7, 0)
            .iter()
            .filter_map(|request| match request {
                Request::Write { version, .. } => Some(*version),
                Request::Read { .. } => None,
            })
            .collect();
        assert!((120..300).contains(&written.len()), "{}", written.len());
        assert_eq!(written, (1..=written.len() as u64).collect::<Vec<_>>());
    }
}
