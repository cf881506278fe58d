//! The lease: the ticket a fill must hold; void once its key is invalidated.
//!
//! The idea is that of "Scaling Memcache at Facebook" (NSDI 2013), with a random token for every *attempt*: a token that
//! a process uses twice lets an old load pass for a new one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::identity::{Generation, ServerId, Token};
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::mode::InvalidationMode;
use crate::store::meta::Meta;

/// Asks for the right to fill a key.
#[derive(Clone, Debug)]
pub struct LeaseRequest<'a> {
    /// The key.
    pub key: &'a StoreKey,
    /// The attempt's own random token.
    pub token: Token,
    /// How long the lease stands, by the store's clock. It bounds only how long a dead loader blocks others.
    pub duration: Duration,
    /// The mode of the reader.
    pub mode: InvalidationMode,
    /// The reader's cache under its mapping: it must be covered in CDC mode.
    pub mapping: MappingId,
    /// Entries of another schema version are no answer.
    pub schema_version: u32,
    /// True to load even though a good entry exists, because it could not be proven fresh enough.
    pub reload: bool,
}

/// The answer to a [`LeaseRequest`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LeaseReply {
    /// Somebody filled the key in the meantime: a good entry of the asked mode and schema version.
    Present {
        /// The shard's meta at that instant.
        meta: Option<Arc<Meta>>,
        /// The entry's bytes.
        entry: Bytes,
    },
    /// The lease is the caller's. `meta` is the shard's at the grant: the cache's generation and `hi` (the fence) go
    /// into the fill. It is always there in CDC mode.
    Granted {
        /// The server that granted it. A loaded value is kept in the process-local tier only if the bus is read there.
        server: ServerId,
        /// The shard's meta at the grant.
        meta: Option<Arc<Meta>>,
    },
    /// Another attempt holds it.
    Held {
        /// It runs out after this time at the latest.
        remaining: Duration,
    },
    /// The CDC mode was asked for and the shard has no meta, or a suspended one: load, return, do not store.
    NoMeta,
    /// The CDC mode was asked for and the invalidator in force does not keep this cache under this mapping: load,
    /// return, do not store.
    NotCovered,
}

impl LeaseReply {
    /// The reply as this server gives it.
    #[must_use]
    pub fn given_by(self, server: ServerId) -> Self {
        match self {
            Self::Granted { meta, .. } => Self::Granted { server, meta },
            other => other,
        }
    }
}

/// A loaded value on its way into the store.
#[derive(Clone, Debug)]
pub struct Fill<'a> {
    /// The key.
    pub key: &'a StoreKey,
    /// The token of the lease taken before the load.
    pub token: Token,
    /// The mode of the reader.
    pub mode: InvalidationMode,
    /// The cache's generation at the grant. In CDC mode a covered cache must still have it.
    pub generation: Generation,
    /// The whole entry, without a lease.
    pub entry: &'a [u8],
    /// The store may forget the entry after this time.
    pub expiry: Duration,
}

/// The answer to a [`Fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FillReply {
    /// The entry is in the store.
    Stored,
    /// It is not, and the value must not be kept by anybody.
    Refused(Refusal),
}

/// Why a fill was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The lease was broken by an invalidation, ran out, or was evicted.
    LeaseBroken,
    /// A new generation of the cache began since the grant, or the cache is no longer covered.
    GenerationChanged,
    /// The shard has no meta any more, or it is suspended.
    NoMeta,
}

impl Refusal {
    /// The reason in a word, for labels of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeaseBroken => "lease_broken",
            Self::GenerationChanged => "generation_changed",
            Self::NoMeta => "no_meta",
        }
    }
}
