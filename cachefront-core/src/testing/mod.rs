//! Fakes and conformance suites for the tests of this project, of users, and of other adapters (feature `testing`).
//!
//! | to test | use |
//! |---|---|
//! | a service that reads through a cache | [`ManualClock`] for times to live; [`FaultyStore`] for an outage or a lost reply |
//! | a key map, or what a service does after a commit | [`ScriptedSource`] with [`MemoryStore`](crate::MemoryStore) |
//! | a store adapter | `store_suite!`, with a [`StoreFixture`] |
//! | a source adapter | `source_suite!`, with a [`SourceFixture`] |
//! | a codec, a key map, a visibility gate | [`check_codec`], [`check_key_map`], [`check_gate`] |
//! | a bus | `store_suite!` of its store: a bus is a part of one |
//! | anything that happens in another task | [`wait_until`], [`wait_for`]: bounded, and name their caller |
//!
//! With tokio's paused time (`start_paused`), give [`TokioClock`] to store, caches and invalidator: minutes take no time.

mod contracts;
mod fakes;
mod faulty_store;
mod scripted_source;
pub mod source_suite;
mod store_suite;
mod wait;
#[cfg(test)]
mod warnings;

pub use crate::store::Operation;
pub use contracts::{check_codec, check_gate, check_key_map};
pub use fakes::{ManualClock, TokioClock};
pub use faulty_store::{Fate, Faults, FaultyStore};
pub use scripted_source::ScriptedSource;
pub use source_suite::SourceFixture;
pub use store_suite::{LAWS, Law, StoreFixture, law};
pub use wait::{WAIT_MAX, wait_for, wait_until};
#[cfg(test)]
pub(crate) use warnings::Warnings;
