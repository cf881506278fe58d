//! Folders of servers.

use std::fs;

use tempfile::TempDir;

use crate::stack;

/// A fresh folder below [`stack::private_dir`].
///
/// # Panics
/// If it cannot be made.
pub fn temporary_dir(name: &str) -> TempDir {
    let parent = stack::private_dir();
    fs::create_dir_all(&parent).unwrap_or_else(|err| panic!("could not make {}: {err}", parent.display()));
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(&parent)
        .unwrap_or_else(|err| panic!("could not make a folder in {}: {err}", parent.display()))
}
