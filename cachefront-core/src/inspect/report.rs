//! What the inspector reports.

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::inspect::convergence::{Convergence, HORIZONS, Miss};
use crate::inspect::ledger::Cause;
use crate::inspect::verdict::StaleKind;
use crate::inspect::watch::AnyValue;
use crate::key::StoreKey;
use crate::position::Position;

/// An entry that differs from the value that its loader returns.
#[derive(Clone)]
#[non_exhaustive]
pub struct Finding {
    /// The cache's name.
    pub cache: Box<str>,
    /// The key, as stored.
    pub key: StoreKey,
    /// Why the entry is stale.
    pub kind: StaleKind,
    /// The change that made the entry stale; `None` if it is not known.
    pub cause: Option<Cause>,
    /// What the loader's server had executed before the entry's value was read; `None` if the loader did not report it, or
    /// the entry is in the process-local tier.
    pub loaded: Option<Position>,
    /// What the invalidator had applied while the entry was there.
    pub applied: Option<Position>,
    /// How long the entry may still be served.
    pub ttl: Option<Duration>,
    /// When the difference was seen first.
    pub since: Timestamp,
    /// True if the entry was removed.
    pub repaired: bool,
    pub(super) entry: AnyValue,
    pub(super) row: AnyValue,
}

impl Finding {
    /// Returns the cached value and the loaded one, each `None` for "no such row". `None` if the cache's values are of
    /// another type than `V`.
    pub fn values<V: 'static>(&self) -> Option<(&Option<V>, &Option<V>)> {
        Some((self.entry.downcast_ref()?, self.row.downcast_ref()?))
    }
}

impl fmt::Debug for Finding {
    /// Without the values, which may be personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finding")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("cause", &self.cause)
            .field("repaired", &self.repaired)
            .finish_non_exhaustive()
    }
}

/// The result of one pass over a sample of all watched caches.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pass {
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Number of keys that were checked.
    pub sampled: u64,
    /// Number of them that were cached.
    pub compared: u64,
    /// The entries that differ, by cache and key.
    pub findings: Vec<Finding>,
}

impl Pass {
    /// Returns the number of entries that are stale because of `kind`.
    pub fn count(&self, kind: StaleKind) -> u64 {
        self.findings.iter().filter(|finding| finding.kind == kind).count() as u64
    }
}

/// What an inspector has found since it was started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InspectReport {
    /// How soon after a commit its keys were consistent, at each of the [`HORIZONS`](crate::inspect::HORIZONS).
    pub convergence: [Convergence; HORIZONS.len()],
    /// The newest checks that found a value from before the change, with that change; the newest last.
    pub misses: Vec<Miss>,
    /// Changes of keys that were not checked because too many checks were waiting.
    pub unchecked: u64,
    /// The newest lost entries and wrong mappings, the newest last.
    pub findings: Vec<Finding>,
    /// Number of entries that were removed because they were stale for good.
    pub repairs: u64,
    /// The position up to which the log was read; `None` while no log is followed.
    pub followed: Option<Position>,
    /// The last failure of source, store or loader.
    pub last_error: Option<Error>,
}
