//! What a process reports of its reads.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The levels at which reads are judged. `eventual` is judged from the moment on at which the store has applied what
/// was overwritten, and 3 s later where a process's own memory may have answered.
pub const LEVELS: [&str; 3] = ["session", "bounded", "eventual"];

/// The reads at one level from one cache, or a sum of such.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Count {
    /// Reads that were judged.
    pub reads: u64,
    /// Reads that a tier above the database served.
    pub hits: u64,
    /// Of these, from the process's own tier.
    pub local: u64,
    /// Reads that returned a wrong value.
    pub wrong: u64,
    /// Reads that ended with `Unproven`.
    pub unproven: u64,
    /// Reads that ended with another error.
    pub errors: u64,
    /// What the first wrong reads and errors were.
    pub examples: Vec<String>,
}

/// Counts by `cache/level`.
pub type Tally = BTreeMap<String, Count>;

/// What the plain readers and the loads of a process saw.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Crowd {
    /// Plain reads.
    pub reads: u64,
    /// Plain reads that ended with an error.
    pub errors: u64,
    /// The greatest time between a value's end in the database and the beginning of a plain read that returned it, in
    /// microseconds.
    pub oldest_us: u64,
    /// Loads.
    pub loads: u64,
    /// The greatest number of loads at one time.
    pub loads_at_once: u64,
}

impl Crowd {
    /// Adds what another process saw.
    pub fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.errors += other.errors;
        self.oldest_us = self.oldest_us.max(other.oldest_us);
        self.loads += other.loads;
        self.loads_at_once = self.loads_at_once.max(other.loads_at_once);
    }

    /// The share of plain reads without a load.
    pub fn hit_ratio(&self) -> f64 {
        1.0 - self.loads as f64 / self.reads.max(1) as f64
    }

    /// The greatest age of a plain read.
    pub fn oldest(&self) -> Duration {
        Duration::from_micros(self.oldest_us)
    }
}

/// What a process says: what came since it was asked last, and how its invalidator is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Counts by `cache/level`.
    pub counts: Tally,
    /// What plain readers and loads saw.
    pub crowd: Crowd,
    /// The invalidator's state.
    pub state: String,
    /// Since when it is in this state, in microseconds of the system's clock.
    pub since: u64,
    /// New generations that it began.
    pub flushes: u64,
    /// Times that it repeated what the store had forgotten.
    pub rewinds: u64,
    /// Keys that it invalidated.
    pub invalidations: u64,
    /// Its last failure.
    pub error: Option<String>,
    /// Bound caches that are not covered.
    pub not_covered: Vec<String>,
}

impl Count {
    /// Adds another one's.
    pub fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.hits += other.hits;
        self.local += other.local;
        self.wrong += other.wrong;
        self.unproven += other.unproven;
        self.errors += other.errors;
        self.examples.extend(other.examples.iter().take(3).cloned());
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, hits, local, wrong, unproven, errors, .. } = self;
        write!(f, "{wrong} wrong of {reads} ({hits} hits, {local} local; {unproven} unproven, {errors} errors)")
    }
}

impl Report {
    /// The sum over all caches at one level.
    pub fn at(&self, level: &str) -> Count {
        let mut sum = Count::default();
        for (name, count) in &self.counts {
            if name.rsplit('/').next() == Some(level) {
                sum.add(count);
            }
        }
        sum
    }

    /// The reads of one cache at all levels.
    pub fn of(&self, cache: &str) -> Count {
        let mut sum = Count::default();
        for (name, count) in &self.counts {
            if name.split('/').next() == Some(cache) {
                sum.add(count);
            }
        }
        sum
    }
}

/// What a plain read would serve while nothing is written, compared with the database.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rest {
    /// Entries that equal the row.
    pub fresh: u64,
    /// Rows that are not cached.
    pub absent: u64,
    /// Cache, id, cached value, value of the row.
    pub stale: Vec<(String, u64, Option<u64>, u64)>,
}
