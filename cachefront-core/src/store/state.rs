//! What is read from a store, and what an invalidator expects and writes there.

use std::sync::Arc;

use bytes::Bytes;

use crate::checkpoint::Checkpoint;
use crate::clock::Timestamp;
use crate::identity::{Generation, ServerId};
use crate::key::StoreKey;
use crate::position::Gtid;
use crate::store::meta::Meta;

/// One key and its shard's meta, read at one instant from one server.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The server that was read.
    pub server: ServerId,
    /// The shard's meta; `None` if there is none, and then no entry of CDC mode is valid.
    pub meta: Option<Arc<Meta>>,
    /// The entry's bytes; `None` if there is no entry.
    pub entry: Option<Bytes>,
}

/// The metas of all shards, combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// No shard has a meta: the namespace is new, or the store lost everything. Requires a flush.
    Missing,
    /// Some shards have no meta, or shards disagree on the generation. Requires a flush.
    Mixed,
    /// At least one shard is suspended. `applied` can move on; only a flush makes the shards live again. The meta is
    /// combined as for [`Live`](StoreState::Live).
    Suspended(Meta),
    /// All shards are live. The meta is that of the shard with the lowest applied order, with the highest high watermark
    /// and term, and the lowest source time, of all shards.
    Live(Meta),
}

/// A key, and the commits that changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// The key.
    pub key: StoreKey,
    /// The commits of one batch that changed it; at least one.
    pub commits: Vec<Gtid>,
}

/// What an invalidator expects the store's meta to be: the left side of every compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The current generation.
    pub generation: Generation,
    /// The term of the invalidator that writes.
    pub term: u64,
    /// The order of the last applied batch.
    pub applied_order: u64,
}

/// The new value of `applied`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The order of the last batch whose effects are complete.
    pub order: u64,
    /// The source's checkpoint after it.
    pub checkpoint: Checkpoint,
    /// The clock before the source's end was requested, if everything up to that end is applied; else unknown, and the
    /// stored time is kept.
    pub source_time: Timestamp,
}
