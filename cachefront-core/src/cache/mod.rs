//! The read side: a cache, its tiers, and its loads.
//!
//! From the lowest file to the highest: [`hit`], [`level`], [`freshness`], [`epochs`] and [`plan`] are values; [`local`], [`subscription`],
//! [`flight`] and [`load_gate`] are the parts in this process, [`shared`] the part in the store; [`inner`] holds them all;
//! [`store_loaded`], [`load`], [`read`] and [`many`] are the paths through them; [`get`], [`handle`] and [`builder`] the
//! public types.

mod builder;
mod epochs;
mod flight;
mod freshness;
mod get;
mod handle;
mod hit;
mod inner;
mod level;
mod load;
mod load_gate;
mod local;
mod many;
mod plan;
mod read;
mod shared;
mod store_loaded;
mod subscription;
#[cfg(test)]
mod tests;

pub use builder::{CacheBuilder, IntoStore};
pub use get::{Get, GetDetailed, GetFuture};
pub use handle::Cache;
pub use hit::{Hit, Tier};
pub use local::Local;
