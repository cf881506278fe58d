//! The change source: where committed changes come from, in commit order.

mod contract;
mod layer;

pub use contract::{BatchLimits, ChangeSource, Head, Lead, SourceProbe};
pub use layer::{LayeredSource, SourceLayer};

pub use crate::checkpoint::Checkpoint;
pub use crate::filter::{Columns, TableFilter};
