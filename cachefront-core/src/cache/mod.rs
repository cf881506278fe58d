//! The read side: a cache, its tiers, and its loads.
//!
//! From the lowest file to the highest: [`hit`], [`level`], [`freshness`], [`epochs`] and [`plan`] are values; [`local`], [`subscription`],
//! [`flight`], [`merge`] and [`load_gate`] are the parts in this process, [`shared`] the part in the store; [`inner`] holds them all;
//! [`store_loaded`], [`load`], [`held`], [`start`], [`refresh`], [`reload`], [`stale`], [`read`], [`many`] and [`invalidate`] are the paths through them, and
//! [`inspection`] what the inspector sees of them;
//! [`get`], [`get_many`], [`get_or_load`], [`warm_up`],
//! [`token`], [`handle`] and [`builder`] have the public types.

mod builder;
mod epochs;
mod flight;
mod freshness;
mod get;
mod get_many;
mod get_or_load;
mod handle;
mod held;
mod hit;
mod inner;
mod inspection;
mod invalidate;
mod level;
mod load;
mod load_gate;
mod local;
mod many;
mod merge;
mod plan;
mod read;
mod refresh;
mod reload;
mod shared;
mod stale;
mod start;
mod stats;
mod store_loaded;
mod subscription;
#[cfg(test)]
mod tests;
mod token;
mod warm_up;

pub use builder::{CacheBuilder, IntoStore};
pub use get::{Get, GetDetailed, GetFuture};
pub use get_many::{GetMany, GetManyDetailed, GetManyPerKey};
pub use get_or_load::{GetOrLoad, GetOrLoadDetailed};
pub use handle::Cache;
pub use hit::{Hit, Tier};
pub(crate) use inspection::EntryId;
pub use local::Local;
pub use stats::CacheStats;
pub use token::IntoToken;
pub use warm_up::{WarmUp, WarmUpReport};
