#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use cachefront_core::{
    AppliedBatch, AppliedChange, BoxError, Cache, CacheBuilder, CacheKey, CacheSettings, Cdc, CdcHandle, CdcObserver,
    CdcSettings, CdcState, CdcStatus, Clock, Entropy, Error, ErrorKind, Get, GetDetailed, GetFuture, GetMany,
    GetManyDetailed, GetManyPerKey, GetOrLoad, GetOrLoadDetailed, Gtid, Hit, IntoStore, IntoToken, InvalidationMode,
    KEY_BYTES_MAX, LoadCx, LoadNotes, Loader, LoaderFn, Local, MemorySettings, MemoryStore, OnLag,
    POSITION_STORED_BYTES_MAX, POSITION_TEXT_BYTES_MAX, Position, Result, Retry, StoreKey, Tier, Timestamp, cache_key,
    loader_fn,
};
pub use cachefront_core::{
    backoff, bus, clock, codec, entry, event, gate, keymap, metrics, policy, settings, source, store,
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
#[cfg(all(doctest, feature = "redis", feature = "binlog", feature = "testing"))]
#[doc = include_str!("../docs/guide.md")]
mod guide {}
