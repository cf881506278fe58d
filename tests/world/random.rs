//! The only source of randomness of a world: a counter and a mixing function, so that a seed is a history.

use std::sync::atomic::{AtomicU64, Ordering};

use cachefront_core::Entropy;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers from a seed (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(mix(seed)))
    }

    pub(crate) fn next(&self) -> u64 {
        mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }

    /// A number in `0..end`; 0 if that is empty.
    pub(crate) fn below(&self, end: u64) -> u64 {
        if end == 0 { 0 } else { ((u128::from(self.next()) * u128::from(end)) >> 64) as u64 }
    }

    pub(crate) fn index(&self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True this many times in a thousand.
    pub(crate) fn chance(&self, in_a_thousand: u64) -> bool {
        self.below(1_000) < in_a_thousand
    }

    /// One of these, each as likely as its weight says.
    pub(crate) fn weighted<T: Copy>(&self, choices: &[(u64, T)]) -> Option<T> {
        let mut place = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            match place.checked_sub(*weight) {
                Some(rest) => place = rest,
                None => return Some(*choice),
            }
        }
        None
    }
}

impl Entropy for Random {
    fn random_u128(&self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
