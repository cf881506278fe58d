//! Keys: how a user's key type becomes text, and the text's place in the store.
//!
//! [`cache_key`] has the trait and the simple types, [`parts`] tuples and structs, [`store_key`] the stored form.

mod cache_key;
mod macros;
mod parts;
mod store_key;

pub use cache_key::CacheKey;
pub(crate) use store_key::ByKey;
pub use store_key::{KEY_BYTES_MAX, StoreKey};
