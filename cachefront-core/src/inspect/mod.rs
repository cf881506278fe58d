//! The inspector: compares cached entries with the database, without false alarms.
//!
//! It verifies consistency independently of the invalidation path, by a change source of its own, which follows the log while the
//! invalidator works on it, and samples of the cached keys.
//!
//! | question | how it is found out |
//! |---|---|
//! | does an entry differ from its row? | the same entry before and after the row was read; [`Watch::compare`] |
//! | is an invalidation late or lost? | which changes the log has for the key, and what the invalidator had applied while the entry was there |
//! | is the mapping wrong? | the entry contains every change that the mapping names for its key, and differs |
//! | how soon are entries consistent? | each changed key is checked 50 ms, 1 s, 5 s and 5 min after its commit |
//!
//! A verdict is [`Lost`](StaleKind::Lost) or [`Mapping`](StaleKind::Mapping) only if it is proven, so that a repair is
//! never wrong; everything else is [`Late`](StaleKind::Late) until enough is known.

mod compare;
mod convergence;
mod follow;
mod guarded;
mod inspector;
mod ledger;
mod report;
mod state;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;

pub use convergence::{Convergence, HORIZONS, Miss};
pub use inspector::{Inspector, InspectorBuilder};
pub use ledger::Cause;
pub use report::{Finding, InspectReport, Pass};
pub use verdict::StaleKind;
pub use watch::{Comparison, Watch};
