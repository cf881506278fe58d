//! The lease: the right to fill a key, revoked when the key is invalidated.
//!
//! The idea is that of "Scaling Memcache at Facebook" (NSDI 2013), with a random token for every *attempt*: with a token
//! that a process uses twice, the value of an old load could be stored as that of a new one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::identity::{Generation, ServerId, Token};
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::mode::InvalidationMode;
use crate::store::meta::Meta;

/// A request for the right to fill a key.
#[derive(Clone, Debug)]
pub struct LeaseRequest<'a> {
    /// The key.
    pub key: &'a StoreKey,
    /// The random token of this attempt.
    pub token: Token,
    /// How long the lease is valid, by the store's clock. It bounds how long a dead loader blocks others.
    pub duration: Duration,
    /// The mode of the reader.
    pub mode: InvalidationMode,
    /// The reader's cache under its mapping. In CDC mode it must be covered.
    pub mapping: MappingId,
    /// Entries of another schema version are misses.
    pub schema_version: u32,
    /// True to load although a valid entry exists, because it is not proven fresh enough.
    pub reload: bool,
}

/// The reply to a [`LeaseRequest`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LeaseReply {
    /// The key has been filled in the meantime: a valid entry of the requested mode and schema version exists.
    Present {
        /// The shard's meta at the same instant.
        meta: Option<Arc<Meta>>,
        /// The entry's bytes.
        entry: Bytes,
    },
    /// The lease is granted. The cache's generation and the high watermark (the fence) of `meta` go into the fill; in CDC
    /// mode `meta` is always present.
    Granted {
        /// The server that granted it. The value goes into the process-local tier only if the bus is read from this server.
        server: ServerId,
        /// The shard's meta when the lease was granted.
        meta: Option<Arc<Meta>>,
    },
    /// Another attempt holds the lease.
    Held {
        /// The other lease expires after this time at the latest.
        remaining: Duration,
    },
    /// CDC mode was requested and the shard has no meta, or a suspended one: load and return the value, do not store it.
    NoMeta,
    /// CDC mode was requested and the current invalidator does not cover this cache under this mapping: load and return
    /// the value, do not store it.
    NotCovered,
}

impl LeaseReply {
    /// Returns the reply with `server` as the server that granted the lease.
    #[must_use]
    pub fn given_by(self, server: ServerId) -> Self {
        match self {
            Self::Granted { meta, .. } => Self::Granted { server, meta },
            other => other,
        }
    }
}

/// A request to store a loaded value.
#[derive(Clone, Debug)]
pub struct Fill<'a> {
    /// The key.
    pub key: &'a StoreKey,
    /// The token of the lease that was granted before the load.
    pub token: Token,
    /// The mode of the reader.
    pub mode: InvalidationMode,
    /// The cache's generation when the lease was granted. In CDC mode a covered cache must still have it.
    pub generation: Generation,
    /// The complete entry, without a lease.
    pub entry: &'a [u8],
    /// The store may forget the entry after this time.
    pub expiry: Duration,
}

/// The reply to a [`Fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FillReply {
    /// The entry is in the store.
    Stored,
    /// The entry is not stored, and the value must not be cached anywhere.
    Refused(Refusal),
}

/// Why a fill was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The lease was revoked by an invalidation, has expired, or was evicted.
    LeaseBroken,
    /// The cache was flushed since the lease was granted, or is no longer covered.
    GenerationChanged,
    /// The shard has no meta, or a suspended one.
    NoMeta,
}

impl Refusal {
    /// Returns the reason as one word, for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeaseBroken => "lease_broken",
            Self::GenerationChanged => "generation_changed",
            Self::NoMeta => "no_meta",
        }
    }
}
