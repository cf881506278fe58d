//! How long a value may live.

mod contract;
mod negative;
mod ttl;

pub use contract::{TtlContext, TtlPolicy};
pub use negative::NegativeTtl;
pub use ttl::{FixedTtl, JitteredTtl};
