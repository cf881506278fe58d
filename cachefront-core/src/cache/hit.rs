//! What a read found, and what is known about it.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::position::Position;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tier {
    /// This process's memory.
    Local,
    /// The shared store.
    Shared,
    /// The database.
    Database,
}

impl Tier {
    /// Returns the tier as one lower-case word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Database => "database",
        }
    }
}

/// A value, and everything that is known about its freshness. What is not known is `None`, never a guess.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hit<V> {
    /// The value; `None` if the database has no such row.
    pub value: Option<V>,
    /// Where the value came from.
    pub tier: Tier,
    /// Commits that the value is proven to contain.
    pub position: Option<Position>,
    /// The value was current at some moment within this time before the read returned; clock skew is included.
    pub staleness_bound: Option<Duration>,
    /// How long the value may still be served; `None` if it is not cached.
    pub ttl: Option<Duration>,
    /// True if the value may have been invalidated and was served because its load failed or was slow; see
    /// [`CacheBuilder::stale_if_error`](crate::CacheBuilder::stale_if_error). Position and bound are then `None`.
    pub stale: bool,
    /// Time since the value's load began, whichever tier the value comes from.
    pub age: Option<Duration>,
}

impl<V> Hit<V> {
    /// A value of which nothing else was asked.
    pub(crate) fn plain(value: Option<V>, tier: Tier) -> Self {
        Self { value, tier, position: None, staleness_bound: None, ttl: None, stale: false, age: None }
    }

    /// The same hit, returned this much later than it was found.
    pub(crate) fn later(mut self, by: Duration) -> Self {
        let add = |time: &mut Option<Duration>| *time = time.map(|time| time.saturating_add(by));
        add(&mut self.staleness_bound);
        add(&mut self.age);
        self.ttl = self.ttl.map(|ttl| ttl.saturating_sub(by));
        self
    }
}

/// Returns the age of a value whose load began at `filled_at`.
pub(crate) fn age(filled_at: Timestamp, now: Timestamp) -> Option<Duration> {
    filled_at.is_known().then(|| now.since(filled_at))
}

/// The result of a single-flight load.
#[derive(Clone, Debug)]
pub(crate) struct Loaded<V> {
    /// The value; `None` if the database has no such row.
    pub(crate) value: Option<V>,
    /// The database, or the shared store if another process has filled the key.
    pub(crate) tier: Tier,
    /// What the loader's server had executed.
    pub(crate) position: Option<Position>,
    /// The clock before the load; unknown if the server that was read does not bound staleness.
    pub(crate) filled_at: Timestamp,
    /// The clock after the load, before the value was offered to the tiers; unknown if it was not loaded here.
    pub(crate) loaded_at: Timestamp,
    /// True if the value comes from the server whose log is followed, as far as the loader says.
    pub(crate) primary: bool,
    /// True if the loader named the server, and it is the one whose log is followed.
    pub(crate) known_primary: bool,
    /// When the cached value expires; unknown if it is not cached.
    pub(crate) expires_at: Timestamp,
    /// True if the store accepted the value under its lease: every waiter may have it.
    pub(crate) accepted: bool,
}

impl<V> Loaded<V> {
    /// The end of a flight that has loaded no value, and whose waiters look up again.
    pub(crate) fn abandoned() -> Self {
        Self {
            value: None,
            tier: Tier::Shared,
            position: None,
            filled_at: Timestamp::UNKNOWN,
            loaded_at: Timestamp::UNKNOWN,
            primary: false,
            known_primary: false,
            expires_at: Timestamp::UNKNOWN,
            accepted: false,
        }
    }
}
