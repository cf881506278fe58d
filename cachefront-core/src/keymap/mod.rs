//! The key map: which keys a change makes stale.
//!
//! A cache's map is usually declared with [`CacheBuilder::depends_on`](crate::CacheBuilder::depends_on), which makes
//! [`TableRules`]. Its identity, the [`MappingId`](crate::store::MappingId), is part of the store's coverage table: processes
//! of two releases with different maps do not serve each other's values.

mod contract;
mod rule;

pub use contract::{KeyMap, RowValue};
pub use rule::TableRules;
