//! The shared store: entries with leases, and the meta value that says which of them are valid.
//!
//! [`Store`] and [`StoreWriter`] are the contract of an adapter; [`transition`] has each operation as a pure function;
//! [`MemoryStore`] is the reference implementation.

mod contract;
pub mod coverage;
mod lease;
mod memory;
mod memory_bus;
mod memory_shard;
mod meta;
mod state;
pub mod transition;

pub use contract::{Store, StoreWriter};
pub use coverage::{Cover, Coverage, Covered};
pub use lease::{Fill, FillReply, LeaseReply, LeaseRequest, Refusal};
pub use memory::{MemorySettings, MemoryStore};
pub use meta::{META_HEADER_BYTES, Meta, MetaState};
pub use state::{Applied, Expected, Invalidation, Reading, StoreState};

pub(crate) use contract::is_same_store;

pub use crate::identity::{Generation, ServerId, Token};
pub use crate::mapping::MappingId;
pub use crate::mode::InvalidationMode;
