//! The key map: which keys a change makes stale.

mod contract;
mod rule;

pub use contract::KeyMap;
pub use rule::TableRules;
