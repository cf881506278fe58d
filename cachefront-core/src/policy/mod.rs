//! How long a value may live.
//!
//! The default policy of a cache is [`FixedTtl`] in [`JitteredTtl`] in [`NegativeTtl`], with the numbers of
//! [`CacheBuilder::ttl`](crate::CacheBuilder::ttl), [`jitter`](crate::CacheBuilder::jitter) and
//! [`negative_ttl`](crate::CacheBuilder::negative_ttl).

mod contract;
mod negative;
mod ttl;

pub use contract::{TtlContext, TtlPolicy};
pub use negative::NegativeTtl;
pub use ttl::{FixedTtl, JitteredTtl};
