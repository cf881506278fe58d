//! Fakes and conformance suites, for this project's tests, for users' and for other adapters' (feature `testing`).

mod fakes;
mod scripted_source;
mod wait;

pub use fakes::ManualClock;
pub use scripted_source::ScriptedSource;
pub use wait::{WAIT_MAX, wait_until};
