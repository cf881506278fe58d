//! The shared store: entries with leases, and the meta value that says which of them are valid.
//!
//! Each shard of a store has one *meta*, and an *entry* for each cached key. The life of an entry in CDC mode:
//!
//! | step | who | method | effect |
//! |---|---|---|---|
//! | miss | reader | [`Store::get`] | reads meta and entry at one instant |
//! | lease | reader | [`Store::lease`] | writes a random [`Token`] into the entry, and returns the meta |
//! | fill | reader | [`Store::fill`] | stores the loaded value if the token is still there and the generation is current |
//! | hit | reader | [`Store::get`] | the entry is valid if the meta is live, and covers the cache with the entry's generation |
//! | invalidation | invalidator | [`StoreWriter::invalidate`] | removes entry and lease: a fill of an older load is refused |
//! | flush | invalidator | [`StoreWriter::flush`] | replaces the generations: every entry is a miss, without a scan |
//!
//! An invalidator writes through one [`StoreWriter`], by compare-and-set on what it expects the meta to be ([`Expected`]). So
//! a former holder of the term, or a store that failed over to an older state, is noticed with the next write.
//!
//! [`Store`] and [`StoreWriter`] are the contract of an adapter; [`transition`] has each operation as a pure function;
//! [`MemoryStore`] is the reference implementation.

mod combine;
mod contract;
pub mod coverage;
mod layer;
mod lease;
mod memory;
mod memory_bus;
mod memory_shard;
mod meta;
pub mod row_image;
mod state;
pub mod transition;

pub use contract::{Store, StoreWriter};
pub use coverage::{Cover, Coverage, Covered};
pub use layer::{LayeredStore, Operation, StoreLayer, StoreMeter};
pub use lease::{Fill, FillReply, LeaseReply, LeaseRequest, Refusal};
pub use memory::{MemorySettings, MemoryStore};
pub use meta::{META_HEADER_BYTES, Meta, MetaState};
pub use row_image::{RowImageCounts, RowImageValue};
pub use state::{Applied, Expected, Invalidation, Reading, StoreState};

pub(crate) use contract::is_same_store;

pub use crate::identity::{Generation, ServerId, Token};
pub use crate::mapping::MappingId;
pub use crate::mode::InvalidationMode;
