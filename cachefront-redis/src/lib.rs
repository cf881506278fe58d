//! Redis and Valkey as the shared store of cachefront.
//!
//! [`RedisStore`] keeps entries, their leases and the meta of each logical shard in one server, and carries the
//! invalidation bus over a capped stream. Reads are plain `MGET`s; what must compare before it writes is a script that
//! touches headers only.
//!
//! ```no_run
//! use cachefront::redis::RedisStore;
//!
//! # async fn example() -> Result<(), cachefront::Error> {
//! let store = RedisStore::connect("redis://127.0.0.1/?namespace=shop").await?;
//! let secure = RedisStore::builder("rediss://cache.internal/").namespace("shop").tls_ca_file("ca.pem").connect().await?;
//! # drop((store, secure));
//! # Ok(())
//! # }
//! ```

mod bus;
mod config;
mod conn;
mod error;
mod identity;
mod keys;
mod link;
mod message;
mod meta;
mod reads;
mod scripts;
mod store;
mod url;
mod writer;

pub use config::{RedisSettings, RedisStoreBuilder};
pub use store::RedisStore;
