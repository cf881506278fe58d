//! What every command of the simulator needs: one line of text for an error, secrets that are not shown, durations, the
//! environment, and the shutdown signal.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

pub mod duration;
mod environment;
mod error;
mod secret;
mod shutdown;

pub use environment::Environment;
pub use error::{CliError, root_cause};
pub use secret::Secret;
pub use shutdown::shutdown_signal;
