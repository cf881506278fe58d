//! The core of cachefront: the cache, the protocol that keeps it right, and the traits that its adapters implement.
//!
//! The two sides meet in the store only:
//!
//! * the read side, [`Cache`]: this process's own tier → the shared [`Store`](store::Store) → a
//!   [`Loader`] under a lease → the fill;
//! * the write side, [`Cdc`]: a [`ChangeSource`](source::ChangeSource) → the
//!   [visibility gate](gate::VisibilityGate) → a [`KeyMap`](keymap::KeyMap) → the store → the
//!   [bus](bus::InvalidationBus) → the checkpoint.
//!
//! Comments cite the rules of the protocol by name, as in ("Coverage"): `docs/protocol.md` of the repository says what each
//! of them demands, which race it closes, and which test holds it. `docs/guarantees.md` is the contract with users.

pub mod backoff;
pub mod bus;
mod cache;
mod checkpoint;
pub mod clock;
pub mod codec;
pub mod entry;
mod error;
pub mod event;
mod filter;
pub mod gate;
mod identity;
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
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use cache::{Cache, CacheBuilder, Get, GetDetailed, GetFuture, Hit, IntoStore, Local, Tier};
pub use clock::{Clock, Entropy, Timestamp};
pub use error::{BoxError, Error, ErrorKind, Result, Retry};
pub use invalidator::{AppliedBatch, AppliedChange, Cdc, CdcHandle, CdcObserver, CdcState, CdcStatus};
pub use key::{CacheKey, KEY_BYTES_MAX, StoreKey};
pub use loader::{LoadCx, LoadNotes, Loader, LoaderFn, loader_fn};
pub use mode::InvalidationMode;
pub use position::{Gtid, POSITION_STORED_BYTES_MAX, POSITION_TEXT_BYTES_MAX, Position};
pub use settings::{CacheSettings, CdcSettings};
pub use store::{MemorySettings, MemoryStore};

/// The program of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
