//! Servers of one test's own: to be killed, restarted, restored and purged without disturbing anybody.
//!
//! They listen on 127.0.0.1 on a port that they keep over restarts, hold their data in a temporary folder below the
//! stack's, and end when their value is dropped. They stay in the test's process group, so that Ctrl-C reaches them.

mod child;
pub mod connect;
pub mod jvm;
pub mod kafka;
pub mod mysql;
pub mod redis;

pub use child::Process;
pub use connect::Connect;
pub use kafka::Kafka;
pub use mysql::MySql;
pub use redis::Redis;

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
