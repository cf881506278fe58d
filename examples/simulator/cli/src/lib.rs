//! What every command of the simulator needs: one line of text for an error, secrets that are not shown, durations, the
//! environment, and the shutdown signal.

pub mod duration;
mod environment;
mod error;
mod secret;
mod shutdown;

pub use environment::Environment;
pub use error::{CliError, root_cause};
pub use secret::{ExposeSecret, SecretString, host, matches};
pub use shutdown::shutdown_signal;
