//! The load generator of the simulator. It depends only on the HTTP API.
//!
//! - [`load`]: one run at a chosen rate, with a staleness probe and goals;
//! - [`experiment`]: the same run in TTL mode and in CDC mode, side by side;
//! - [`sweep`]: the same runs with several lifetimes of entries, and in CDC mode;
//! - [`modes_control`]: what starts and stops the latter two;
//! - [`record`]: the form in which all of them are kept.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

pub mod experiment;
pub mod load;
mod modes;
pub mod modes_control;
pub mod record;
pub mod sweep;
mod unfinished;
pub mod uplot;
