//! What an explanation consists of; see [`Cache::explain`](crate::Cache::explain).

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cache::hit::Tier;
use crate::cache::serving::ServingMode;
use crate::mode::InvalidationMode;

/// Why a plain read would load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadReason {
    /// The serving mode is `Bypass` or `Shadow`.
    ServingMode,
    /// The key is too long to be stored.
    KeyTooLong,
    /// The store cannot be read.
    StoreUnreachable,
    /// The store has no entry.
    Absent,
    /// The entry has a lease and no value: somewhere, a load is in progress, or has failed a moment ago.
    Loading,
    /// The store has no meta: no invalidator has begun, or the store was emptied.
    NoMeta,
    /// The store is suspended: the invalidator flushes, or all caches are in TTL mode.
    Suspended,
    /// No invalidator covers this cache under this mapping.
    NotCovered,
    /// The entry was stored in the other invalidation mode.
    OtherMode,
    /// The cache was flushed since the entry was stored.
    OtherGeneration,
    /// The entry has another schema version.
    OtherSchemaVersion,
    /// The entry was encoded by another codec, or its value cannot be decoded.
    NotDecodable,
    /// The entry's time to live has ended.
    Expired,
    /// The entry's header is damaged.
    Damaged,
    /// A tag of the entry was invalidated since it was loaded.
    TagInvalidated,
    /// The freshness objective is not met, and the entry is too old to be served meanwhile.
    Outdated,
}

impl LoadReason {
    /// Returns the reason in plain words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServingMode => "the serving mode sends reads to the database",
            Self::KeyTooLong => "the key is too long to be stored",
            Self::StoreUnreachable => "the store cannot be read",
            Self::Absent => "the store has no entry",
            Self::Loading => "the entry has a lease and no value: a load is in progress",
            Self::NoMeta => "the store has no meta: no invalidator has begun",
            Self::Suspended => "the store is suspended until an invalidator begins a new generation",
            Self::NotCovered => "no invalidator covers this cache under this mapping",
            Self::OtherMode => "the entry was stored in the other invalidation mode",
            Self::OtherGeneration => "the cache was flushed since the entry was stored",
            Self::OtherSchemaVersion => "the entry has another schema version",
            Self::NotDecodable => "the entry was encoded by another codec, or cannot be decoded",
            Self::Expired => "the entry's time to live has ended",
            Self::Damaged => "the entry is damaged",
            Self::TagInvalidated => "a tag of the entry was invalidated since it was loaded",
            Self::Outdated => "the freshness objective is not met, and the entry is too old meanwhile",
        }
    }
}

/// What a plain read of a key would do, and why; see [`Cache::explain`](crate::Cache::explain). It has no values, so that it can
/// be shown to operators.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The cache.
    pub cache: String,
    /// The key in its stored form.
    pub key: String,
    /// The namespace in the store.
    pub namespace: String,
    /// What reads do with the tiers.
    pub serving_mode: ServingMode,
    /// By which rule values are kept correct.
    pub mode: InvalidationMode,
    /// The tier that would serve the read; `None` if it would load.
    pub served_from: Option<Tier>,
    /// Why it would load; `None` if it would be served.
    pub would_load: Option<LoadReason>,
    /// True if a load of the key is in progress in this process, which the read could join.
    pub load_in_progress: bool,
    /// The process-local tier; `None` if the cache has none.
    pub local: Option<LocalExplanation>,
    /// The shared store; `None` if it cannot be read.
    pub store: Option<StoreExplanation>,
    /// Why the store cannot be read.
    pub store_error: Option<String>,
}

/// The process-local tier's part of an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LocalExplanation {
    /// True while every invalidation reaches this process: values may be kept.
    pub following: bool,
    /// Everything up to this position was handled in this process.
    pub handled: Option<String>,
    /// The value that the tier has, also one that is no longer served.
    pub value: Option<LocalValue>,
}

/// A value in the process-local tier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LocalValue {
    /// It, or one of its tags, was invalidated, or the tier was cleared.
    pub invalidated: bool,
    /// Its time to live has ended.
    pub expired: bool,
    /// Time since its load began; `None` if it was loaded from a replica.
    pub age: Option<Duration>,
    /// The rest of its time to live.
    pub ttl: Duration,
}

/// The shared store's part of an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoreExplanation {
    /// What the invalidator says about the entries of the key's shard; `None` if there is no meta.
    pub meta: Option<MetaExplanation>,
    /// The key's entry; `None` if there is none.
    pub entry: Option<EntryExplanation>,
}

/// The meta of a shard.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetaExplanation {
    /// False while the store is suspended.
    pub live: bool,
    /// The current generation of this cache; `None` if it is not covered.
    pub generation: Option<String>,
    /// Every invalidation up to here is done.
    pub applied: String,
    /// Age of the newest moment at which everything was applied; `None` if it is not known.
    pub watermark_age: Option<Duration>,
    /// The server whose log is followed.
    pub origin: String,
    /// The term of the invalidator that writes.
    pub term: u64,
}

/// The entry of a key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EntryExplanation {
    /// `value`, `absent` (the database has no such row), or `lease` (no value yet).
    pub state: &'static str,
    /// By which rule it was kept correct when it was stored.
    pub mode: InvalidationMode,
    /// The cache's generation when its load began.
    pub generation: String,
    /// The version of its schema.
    pub schema_version: u32,
    /// What the loader's server had executed before the load; `None` if it is not known.
    pub position: Option<String>,
    /// Time since its load began; `None` if it was loaded from a replica.
    pub age: Option<Duration>,
    /// The rest of its time to live; `None` if it has none.
    pub ttl: Option<Duration>,
    /// How long its load took.
    pub load_took: Duration,
    /// Size of the encoded value in bytes.
    pub bytes: usize,
    /// The rest of the time of a lease, by this process's clock; `None` if there is no lease.
    pub lease: Option<Duration>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.key)?;
        match (self.served_from, self.would_load) {
            (Some(tier), _) => write!(f, "served from the {} tier", tier.as_str())?,
            (None, Some(reason)) => write!(f, "loads, because {}", reason.as_str())?,
            (None, None) => f.write_str("loads")?,
        }
        if let Some(error) = &self.store_error {
            write!(f, " ({error})")?;
        }
        let Some(store) = &self.store else { return Ok(()) };
        if let Some(entry) = &store.entry {
            write!(f, "; entry: {}, {} bytes", entry.state, entry.bytes)?;
            if let Some(age) = entry.age {
                write!(f, ", {age:.1?} old")?;
            }
            if let Some(position) = &entry.position {
                write!(f, ", contains {position}")?;
            }
            if let Some(lease) = entry.lease {
                write!(f, ", leased for {lease:.1?}")?;
            }
        }
        if let Some(meta) = &store.meta {
            write!(f, "; applied up to {}", meta.applied)?;
        }
        Ok(())
    }
}
