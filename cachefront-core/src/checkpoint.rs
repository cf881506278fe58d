//! The checkpoint: where a source resumes.
//!
//! It is stored in the meta of every shard, together with what was applied: so it can never be ahead of the store's entries,
//! and a store that fails over to an older state has the older checkpoint too.

use bytes::Bytes;

use crate::position::Position;

/// Where a source resumes: what it has delivered, and what else it needs to continue from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Every transaction delivered so far.
    pub position: Position,
    /// Source-specific resume data, opaque to other components (e.g. Kafka offsets). May be empty.
    pub resume: Bytes,
}
