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
//! Redis 6.2 or later, or Valkey; a primary, not a replica; or Redis Cluster. The user of the URL needs `+@read +@write
//! +@scripting +@connection +select +wait +info +time ~{cf:*`. If `maxmemory` is set, use `maxmemory-policy volatile-ttl`:
//! entries have a time to live, metas have none. An evicted entry costs one load. Under an `allkeys-*` policy a meta may be
//! evicted, which flushes everything; under `noeviction` a full server takes no new entry, and goes on to be invalidated.
//!
//! # Features
//! `testing` of the crate `cachefront-redis`, which the facade does not pass on, adds a module of that name with the names of keys.
//!
//! # Which form of deployment
//!
//! | deployment | URL | a failover loses |
//! |---|---|---|
//! | one server | `redis://host/` | all entries if it has no persistence |
//! | primary with replicas, Sentinel | `redis+sentinel://a,b,c/name` | writes that had not reached the replica |
//! | Redis Cluster | `redis+cluster://a,b,c/` | the same, for the shards of one node |
//!
//! After any of these losses no stale value is proven: reads with a token or a bound hold. Positions and leases name the
//! server and its replication history; after a failover the invalidator repeats what the store no longer has, or
//! begins new generations, and until then a plain read may return an older value. With
//! [`RedisSettings::wait_replicas`] an invalidation counts only when
//! replicas have it, which makes failovers cheaper and each batch slower by one round trip to a
//! replica.
//!
//! # Connections of a process
//! One for reads, one for the bus, and one more for each of: the invalidator if it runs here, the
//! first [`peek`](cachefront_core::store::Store::peek), the first wait for a load of another
//! process. In a cluster each of them but the bus is one per node, and with Sentinel there is one
//! subscription per Sentinel. Several caches on one [`RedisStore`] share all of them.
//!
//! # Settings
//! Every timeout, batch and retry has a bound in [`RedisSettings`], where its default and the
//! reason for it are given. Raise `read_timeout` if the store is far away: a reader that does not
//! get its reply within it goes to the database.

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
mod packed;
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
