//! The read side: a cache, its tiers, and its loads.
//!
//! From the lowest file to the highest: [`hit`], [`level`], [`freshness`], [`serving`], [`epochs`], [`tags`], [`expected_tags`],
//! [`row_value`], [`explanation`], [`caught`] and [`plan`] are values; [`local`], [`subscription`], [`ticker`], [`tasks`], [`flight`], [`merge`] and [`load_gate`] are
//! the parts in this process, [`shared`], [`primary`], [`evaluate`], [`fill`] and [`tag_store`] the part in the store; [`inner`] holds them all; [`store_loaded`],
//! [`load`], [`tag_load`], [`held`], [`start`], [`refresh`], [`reload`], [`stale`], [`strong`], [`read`], [`shadow`], [`many`], [`consistent`],
//! [`explain`] and [`invalidate`] are the paths through them, and [`inspection`] what the inspector sees of them; [`get`],
//! [`get_many`], [`get_or_load`], [`warm_up`], [`token`], [`handle`], [`operate`], [`tag_api`], [`row_api`], [`age_api`] with [`ages`],
//! and [`builder`] have the public types.

mod age_api;
mod ages;
mod builder;
mod caught;
mod consistent;
mod epochs;
mod evaluate;
mod expected_tags;
mod explain;
mod explanation;
mod fill;
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
mod log_limit;
mod many;
mod many_values;
mod merge;
mod mode_switch;
mod observer;
mod operate;
mod plan;
mod primary;
mod read;
mod refresh;
mod reload;
mod row_api;
mod row_value;
mod scratch;
mod serving;
mod shadow;
mod shared;
mod stale;
mod start;
mod stats;
mod store_loaded;
mod strong;
mod subscription;
mod tag_api;
mod tag_load;
mod tag_store;
mod tags;
mod tasks;
#[cfg(test)]
mod tests;
mod ticker;
mod token;
mod warm_up;

pub use builder::{CacheBuilder, IntoStore};
pub use explanation::{
    EntryExplanation, Explanation, LoadReason, LocalExplanation, LocalValue, MetaExplanation, StoreExplanation,
};
pub use get::{Get, GetDetailed, GetFuture};
pub use get_many::{GetMany, GetManyDetailed, GetManyPerKey};
pub use get_or_load::{GetOrLoad, GetOrLoadDetailed};
pub use handle::Cache;
pub use hit::{Hit, Tier};
pub(crate) use inspection::EntryId;
pub use local::Local;
pub use observer::{CacheObserver, LoadReport, ReadOutcome};
pub use serving::ServingMode;
pub use stats::CacheStats;
pub use token::IntoToken;
pub use warm_up::{WarmUp, WarmUpReport};
