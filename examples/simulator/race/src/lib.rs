//! Races between a reader, a writer and the log, played step by step: what a cache that deletes on the event gets wrong, and
//! what the library does in its place.
//!
//! A [`Scene`] is a list of steps. A [`World`](world) plays it on one [`Side`]: with [`naive`], a cache that deletes the key
//! when the event comes, or with the library: its `Cache`, its in-memory store and its invalidator ([`guarded`]). Both read the same
//! [`database`] through the same loader, and follow the same log. Each step performs the operation, waits until it has had its
//! effect, and then reads what happened from the objects themselves: nothing that is shown is written down beforehand.
//!
//! The database is a small one in memory, with one row. It does on request what MySQL does by itself: it delivers a commit to log
//! readers before its sessions can see the commit, and its replica is behind.
//!
//! [`Worlds`] keeps one world for each session: few, and not for long, on a [thread](stage) of their own.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

mod database;
mod frame;
mod guarded;
mod loads;
mod naive;
mod rows;
mod scene;
mod scenes;
mod settings;
mod source;
mod stage;
mod wait;
mod watched;
mod world;
mod worlds;

pub use database::{NEW_NAME, OLD_NAME};
pub use frame::{CachedValue, Frame, LogState, Progress, ReaderState, Verdict};
pub use scene::{Lane, Scene, Side, Step};
pub use scenes::{SCENES, find};
pub use settings::RaceSettings;
pub use world::{Played, RaceError, View};
pub use worlds::Worlds;
