//! Several processes of one service: each has caches and an invalidator, and judges every answer that it gets.
//!
//! A [`Writer`] writes to the rows and notes in a [`Ledger`] when each value was overwritten. A process (`actor pod`)
//! reads at all levels and compares each answer with the ledger: a value is wrong if it was overwritten before the moment
//! that the level promises.

mod ledger;
mod pod;
mod report;
mod service;
mod setup;
mod writer;

pub use ledger::{Ledger, now};
pub use pod::Pod;
pub use report::{Count, Crowd, LEVELS, Report, Rest, Tally};
pub use service::{CODES, Fleet, ROWS};
pub use setup::{CacheSpec, Guard, LagPolicy, ReplicaSpec, Setup};
pub use writer::{Rows, Writer};
