//! The core of cachefront: the cache, the protocol that keeps it correct, and the traits that adapters implement.
//!
//! The two sides meet in the store only:
//!
//! * the read side, [`Cache`]: the process-local tier → the shared [`Store`](store::Store) → a
//!   [`Loader`] under a lease → the fill;
//! * the write side, [`Cdc`]: a [`ChangeSource`](source::ChangeSource) → the
//!   [visibility gate](gate::VisibilityGate) → a [`KeyMap`](keymap::KeyMap) → the store → the
//!   [bus](bus::InvalidationBus) → the checkpoint.
//!
//! | module | what |
//! |---|---|
//! | [`store`] | entries with leases, metas, the in-memory store, each operation as a pure function |
//! | [`entry`] | the layout of an entry in a store |
//! | [`bus`] | invalidations on their way to the process-local tiers |
//! | [`source`], [`event`], [`gate`] | where changes come from, what they are, when they are visible to loaders |
//! | [`keymap`] | which keys a change makes stale |
//! | [`inspect`] | compares cached entries with the database |
//! | [`codec`], [`policy`] | how values become bytes, and how long they live |
//! | [`clock`], [`backoff`] | time, randomness and pauses, replaceable in tests |
//! | [`settings`], [`metrics`] | every tunable number, and every metric |
//!
//! Comments cite the rules of the protocol by name, as in ("Coverage"): [the protocol](https://github.com/cachefront/cachefront/blob/main/docs/protocol.md)
//! says what each rule requires, which race it prevents, and which test fails without it.
//! [The guarantees](https://github.com/cachefront/cachefront/blob/main/docs/guarantees.md) are the contract with users,
//! [the glossary](https://github.com/cachefront/cachefront/blob/main/docs/glossary.md) defines the terms.
//!
//! To write an adapter, implement [`Store`](store::Store), [`ChangeSource`](source::ChangeSource) or
//! [`VisibilityGate`](gate::VisibilityGate), and run the conformance suites of the feature `testing` against it.

pub mod backoff;
mod breaker;
pub mod bus;
mod cache;
mod caught;
mod checkpoint;
pub mod clock;
pub mod codec;
pub mod entry;
mod error;
pub mod event;
mod filter;
pub mod gate;
mod identity;
pub mod inspect;
mod invalidator;
mod key;
pub mod keymap;
mod loader;
mod mapping;
pub mod metrics;
mod mode;
pub mod policy;
mod position;
pub mod settings;
pub mod source;
pub mod store;
mod striped;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// The attribute for implementations of [`Store`](store::Store), [`ChangeSource`](source::ChangeSource) and the other traits
/// with `async` methods that are used as objects.
pub use async_trait::async_trait;
/// The crate of `Bytes`, in which stores and codecs pass values on.
pub use bytes;
pub use cache::{
    Cache, CacheBuilder, CacheObserver, CacheStats, EntryExplanation, Explanation, Get, GetDetailed, GetFuture,
    GetMany, GetManyDetailed, GetManyPerKey, GetOrLoad, GetOrLoadDetailed, Hit, IntoStore, IntoToken, LoadReason,
    LoadReport, Local, LocalExplanation, LocalValue, MetaExplanation, ReadOutcome, ServingMode, StoreExplanation, Tier,
    WarmUp, WarmUpReport,
};
pub use clock::{Clock, Entropy, Timestamp};
pub use error::{BoxError, Error, ErrorKind, Result, Retry};
pub use inspect::Inspector;
pub use invalidator::{AppliedBatch, AppliedChange, Cdc, CdcHandle, CdcObserver, CdcState, CdcStatus, StageLatency};
pub use key::{CacheKey, KEY_BYTES_MAX, StoreKey};
pub use loader::{LoadCx, LoadNotes, LoadedValue, Loader, LoaderFn, Reloaded, TAG_BYTES_MAX, TAGS_MAX, loader_fn};
pub use mode::InvalidationMode;
pub use position::{Gtid, POSITION_STORED_BYTES_MAX, POSITION_TEXT_BYTES_MAX, Position};
pub use settings::{BreakerSettings, CacheSettings, CdcSettings, InspectSettings, OnLag};
pub use store::{MemorySettings, MemoryStore};
/// The module of the receiver that [`CdcHandle::watch`] returns.
pub use tokio::sync::watch;
/// The crate of the keys of this type.
#[cfg(feature = "uuid")]
pub use uuid;

/// The program of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
