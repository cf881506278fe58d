//! What a read found, and what it may say about it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::position::Position;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// This process's own memory.
    Local,
    /// The shared store.
    Shared,
    /// The database.
    Database,
}

impl Tier {
    /// The tier in one lower-case word.
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
    /// The value; none if the database has no such row.
    pub value: Option<V>,
    /// Where it came from.
    pub tier: Tier,
    /// Commits that the value is proven to contain.
    pub position: Option<Position>,
    /// The value was current at some moment within this time before the answer, clock skew allowed for.
    pub staleness_bound: Option<Duration>,
    /// How long the value may still be served; none if it is not kept.
    pub ttl: Option<Duration>,
    /// How long ago its load began, whichever tier it comes from.
    pub age: Option<Duration>,
}

/// The age of what was loaded at `filled_at`.
pub(crate) fn age(filled_at: Timestamp, now: Timestamp) -> Option<Duration> {
    filled_at.is_known().then(|| now.since(filled_at))
}

/// The end of a flight that found something out.
#[derive(Clone, Debug)]
pub(crate) struct Loaded<V> {
    pub(crate) value: Option<V>,
    pub(crate) tier: Tier,
    pub(crate) position: Option<Position>,
    /// The clock before the load, where the server that was read proves by it how stale the value may be.
    pub(crate) filled_at: Timestamp,
    /// The server whose log is followed was read, as far as the loader says.
    pub(crate) primary: bool,
    /// The loader named the server, and it is the one whose log is followed.
    pub(crate) known_primary: bool,
    /// When the kept value runs out; unknown if it is not kept.
    pub(crate) expires_at: Timestamp,
    /// The store took the value while its lease stood: whoever joined may have it.
    pub(crate) accepted: bool,
}
