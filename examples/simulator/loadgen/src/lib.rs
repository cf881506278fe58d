//! The load generator of the simulator. It depends only on the HTTP API.
//!
//! - [`load`]: one run at a chosen rate, with a staleness probe and goals;
//! - [`experiment`]: the same run in TTL mode and in CDC mode, side by side.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

pub mod experiment;
pub mod load;
pub mod uplot;
