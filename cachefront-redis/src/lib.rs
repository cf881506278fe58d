//! Redis and Valkey as the shared store of cachefront.
//!
//! [`RedisStore`] keeps entries, their leases and the meta of each logical shard in one server. The invalidation bus is a
//! capped stream in the same server. Reads are plain `MGET`s; an operation that must compare before it writes is a Lua
//! script, which reads headers only.
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
//!
//! # What the server needs
//! Redis 6.2 or later, or Valkey; a primary, not a replica; or Redis Cluster. The user of the URL needs
//! `+@read +@write +@scripting +@connection +info +time ~{cf:*`. If `maxmemory` is set, use a `maxmemory-policy` that
//! evicts only keys with a time to live, such as `volatile-ttl`: entries have one, metas have none. An evicted entry costs
//! one load; an evicted meta flushes everything.
//!
//! # Features
//! `testing` adds a module of that name, which has the names of keys for tests that look behind a store.

mod admin;
mod builder;
mod bus;
mod clients;
mod cluster;
mod config;
mod conn;
mod error;
mod identity;
mod images;
mod keys;
mod link;
mod message;
mod meta;
mod moving;
mod push;
mod reads;
mod route;
mod scripts;
mod sentinel;
mod shared;
mod slots;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod topology;
mod url;
mod wires;
mod writer;

pub use builder::RedisStoreBuilder;
pub use config::RedisSettings;
pub use store::RedisStore;

/// The program of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
