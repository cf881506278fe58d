//! The checkpoint: where a source resumes.

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
