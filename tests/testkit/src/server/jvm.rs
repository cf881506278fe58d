//! Java programs of the stack's own Java and jars.

use std::{path::Path, process::Command};

pub use cachefront_stack::jvm::{command_of, write_properties};

use crate::stack;

/// A process of Kafka's `class` with the stack's own Java and jars; see [`command_of`].
///
/// # Panics
/// If no stack was brought up, or the file cannot be written.
pub(super) fn command(dir: &Path, class: &str) -> Command {
    command_of(&stack::java(), &stack::kafka_libs(), dir, class).expect("the server's folder can be written")
}
