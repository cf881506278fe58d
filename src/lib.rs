#![doc = include_str!("../README.md")]
//!
//! # Where to find what
//!
//! | for | see |
//! |---|---|
//! | reads and their levels | [`Cache`], [`Get`], [`GetMany`], [`GetOrLoad`], [`Hit`] |
//! | keys | [`CacheKey`], [`cache_key!`] |
//! | loads | [`Loader`], [`LoadCx`], [`loader_fn`] |
//! | the invalidator | [`Cdc`], [`CdcHandle`], [`CdcStatus`], [`CdcObserver`] |
//! | verification: compares the cache with the database and measures convergence | [`Inspector`], [`inspect`] |
//! | tokens | [`Position`], [`IntoToken`] |
//! | every tunable number, every metric | [`settings`], [`metrics`] |
//! | adapters of your own | [`store`], [`source`], [`bus`], [`gate`], [`codec`], [`keymap`] |
//!
//! # Types of other crates
//!
//! What appears in signatures is exported here, in the version that this crate uses: [`bytes`], [`async_trait`], [`watch`] of
//! tokio, with the feature `uuid` the crate `uuid`, and with the feature `binlog` the driver as `binlog::mysql_async`. The
//! adapters for Redis and Kafka show no types of their clients. A codec of your own and the values of
//! [`Json`](codec::Json) use serde 1.
//!
//! ```
//! use cachefront::bytes::Bytes;
//! use cachefront::codec::Raw;
//! use cachefront::gate::VisibilityGate;
//! use cachefront::{Cache, CacheBuilder, CacheObserver, Position, Result, watch};
//! use std::time::Duration;
//!
//! // Values that are bytes already.
//! fn pages() -> CacheBuilder<String, Bytes, Raw> {
//!     Cache::builder("pages").codec(Raw)
//! }
//!
//! /// For a test: a commit is visible once it is in the watched position.
//! #[derive(Debug)]
//! struct Watched(watch::Receiver<Position>);
//!
//! #[cachefront::async_trait]
//! impl VisibilityGate for Watched {
//!     async fn wait(&self, position: &Position, _timeout: Duration) -> Result<bool> {
//!         Ok(self.0.borrow().covers(position))
//!     }
//! }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "uuid")]
#[cfg_attr(docsrs, doc(cfg(feature = "uuid")))]
pub use cachefront_core::uuid;
pub use cachefront_core::{
    AppliedBatch, AppliedChange, BoxError, BreakerSettings, Cache, CacheBuilder, CacheKey, CacheObserver,
    CacheSettings, CacheStats, Cdc, CdcHandle, CdcObserver, CdcSettings, CdcState, CdcStatus, Clock, Entropy,
    EntryExplanation, Error, ErrorKind, Explanation, Get, GetDetailed, GetFuture, GetMany, GetManyDetailed,
    GetManyPerKey, GetOrLoad, GetOrLoadDetailed, Gtid, Hit, InspectSettings, Inspector, IntoStore, IntoToken,
    InvalidationMode, KEY_BYTES_MAX, LoadCx, LoadNotes, LoadReason, LoadReport, LoadedValue, Loader, LoaderFn, Local,
    LocalExplanation, LocalValue, MemorySettings, MemoryStore, MetaExplanation, OnLag, POSITION_STORED_BYTES_MAX,
    POSITION_TEXT_BYTES_MAX, Position, ReadOutcome, Reloaded, Result, Retry, ServingMode, StageLatency,
    StoreExplanation, StoreKey, TAG_BYTES_MAX, TAGS_MAX, Tier, Timestamp, WarmUp, WarmUpReport, cache_key, loader_fn,
};
pub use cachefront_core::{async_trait, bytes, watch};
pub use cachefront_core::{
    backoff, bus, clock, codec, entry, event, gate, inspect, keymap, metrics, policy, settings, source, store,
};
#[cfg(feature = "testing")]
pub use cachefront_core::{source_suite, store_suite, testing};

#[cfg(feature = "binlog")]
#[cfg_attr(docsrs, doc(cfg(feature = "binlog")))]
pub use cachefront_binlog as binlog;
#[cfg(feature = "kafka")]
#[cfg_attr(docsrs, doc(cfg(feature = "kafka")))]
pub use cachefront_kafka as kafka;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use cachefront_redis as redis;

/// The programs of the guide, which are compiled like those of the README above, and run if they need no server.
#[cfg(all(doctest, feature = "redis", feature = "binlog", feature = "json", feature = "testing"))]
#[doc = include_str!("../docs/guide.md")]
mod guide {}

/// The same of the other pages that have any.
#[cfg(all(doctest, feature = "redis", feature = "binlog", feature = "json"))]
#[doc = include_str!("../docs/guarantees.md")]
#[doc = include_str!("../docs/migration.md")]
mod pages {}
