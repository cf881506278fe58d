//! The protocol as a state machine whose steps are taken in every order, by an explicit-state model checker.
//!
//! What the store does is not modelled: it is the [transition functions](cachefront_core::store::transition) that the
//! in-memory store runs on ([`bridge`]). The rest is a few small actors: a database whose commits reach the log before they are
//! visible, a replica that lags, readers, and invalidators. A configuration ([`config`]) says which faults there are, and
//! which mechanism is removed. A configuration with every mechanism must have no bad state; one from which a mechanism was removed must
//! have one, or the check proves nothing.
//!
//! | letter | a state is bad if |
//! |---|---|
//! | E | an entry differs from its row while nothing is in progress |
//! | E' | a read that starts after an invalidation returns an older value |
//! | S | a value lacks a commit of the position that it is proven to contain |
//! | B | a value is proven current at a time, and a newer one was visible before |

pub mod bridge;
pub mod bus;
pub mod check;
pub mod config;
mod database;
mod invalidator;
pub mod joiners;
pub mod modes;
pub mod primary;
mod reader;
pub mod relayed;
pub mod releases;
pub mod shards;
pub mod state;
pub mod transactions;
mod world;
