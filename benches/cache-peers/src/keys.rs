//! The keys that are asked for: the same sequence for every contender.

/// Number of keys in the caches.
pub(crate) const COUNT: u64 = 100_000;

/// Number of the keys of the sequence `hot`.
const HOT: u64 = 1_000;

/// Returns the sequences by name: a few keys, few of which are asked for most (Zipf's law), and all alike.
pub(crate) fn all(reads: usize) -> [(&'static str, Vec<u64>); 3] {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut draw = |key: fn(&mut Random) -> u64| (0..reads).map(|_| key(&mut random)).collect();
    [
        ("hot", draw(|random| random.next() % HOT)),
        ("zipf", draw(Random::zipf)),
        ("uniform", draw(|random| random.next() % COUNT)),
    ]
}

/// Xorshift: repeatable, and good enough to draw keys.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Draws a rank with a probability of about one over it: the inverse of the harmonic sum is an exponential.
    fn zipf(&mut self) -> u64 {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (COUNT as f64).powf(uniform) as u64;
        rank.saturating_sub(1).min(COUNT - 1)
    }
}
