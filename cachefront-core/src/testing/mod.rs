//! Fakes and conformance suites for the tests of this project, of users, and of other adapters (feature `testing`).

mod fakes;
mod faulty_store;
mod scripted_source;
pub mod source_suite;
mod store_suite;
mod wait;

pub use fakes::{ManualClock, TokioClock};
pub use faulty_store::{Fate, FaultyStore, Operation};
pub use scripted_source::ScriptedSource;
pub use source_suite::SourceFixture;
pub use store_suite::{LAWS, Law, StoreFixture, law};
pub use wait::{WAIT_MAX, wait_until};
