//! The invalidation bus: tells every process which keys of its process-local tier were invalidated.
//!
//! The invalidator publishes after the store has acknowledged the invalidations of a batch. Every process follows the bus once
//! for each store ([`Hub`]), and its caches advance the epochs of the keys. Messages have a sequence and a publisher, so a
//! follower knows when it may have missed one:
//!
//! | event | effect on the process-local tier of a cache |
//! |---|---|
//! | a heartbeat that covers the cache | on |
//! | a heartbeat that does not cover it | off, cleared |
//! | a gap in the sequence, or a repeated one | off, cleared, until the next heartbeat |
//! | another publisher, or another server | off, cleared, until its heartbeat |
//! | no message for `bus_silence_max` | off, cleared, until the next heartbeat |
//! | a lost connection | off, cleared, until a new subscription gets a heartbeat |
//!
//! A cache in TTL mode, or one that depends on no table, keeps its tier on without heartbeats: it is cleared after each of these
//! but silence, and again when the next subscription has begun, unless nothing was published in between.
//!
//! While its tier is off, a cache reads the shared store: slower, and as correct.

mod contract;
mod hub;
mod message;

pub use contract::{BusReader, InvalidationBus};
pub use hub::Hub;
pub(crate) use hub::{Listener, Pace};
pub use message::{BusEvent, BusMessage, BusRead, Publisher};
