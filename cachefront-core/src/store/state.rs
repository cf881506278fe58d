//! What is read from a store, and what an invalidator expects and writes there.

use std::sync::Arc;

use bytes::Bytes;

use crate::checkpoint::Checkpoint;
use crate::clock::Timestamp;
use crate::identity::{Generation, ServerId};
use crate::key::StoreKey;
use crate::position::Gtid;
use crate::store::meta::Meta;

/// One key as it was read, together with its shard's meta: both at one instant, from one server.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The server that was read.
    pub server: ServerId,
    /// The shard's meta; none if the store has none, and then no entry of CDC mode is good.
    pub meta: Option<Arc<Meta>>,
    /// The entry's bytes, or none.
    pub entry: Option<Bytes>,
}

/// What the metas of all shards say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// No shard has a meta: the namespace is new, or the store lost everything. Only a flush helps.
    Missing,
    /// Some shards have no meta, or shards disagree on the generation. Only a flush helps.
    Mixed,
    /// At least one shard is suspended. `applied` may be moved on; nothing but a flush makes the shards live again.
    /// The meta is composed as for [`Live`](StoreState::Live).
    Suspended(Meta),
    /// All shards are live. The meta is the one with the lowest applied order, with the highest `hi` and term, and the
    /// lowest source time, of all.
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

/// What an invalidator believes to hold. Every write compares it with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The generation in force.
    pub generation: Generation,
    /// The term of the invalidator that writes.
    pub term: u64,
    /// The order that `applied` stands at.
    pub applied_order: u64,
}

/// What `applied` moves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The order of the last batch whose effects are complete.
    pub order: u64,
    /// The source's checkpoint after it.
    pub checkpoint: Checkpoint,
    /// The clock before the source's end was asked for, if everything up to that end is applied; else unknown, and the
    /// time that stands is kept.
    pub source_time: Timestamp,
}
