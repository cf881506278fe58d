//! Where the shared servers are, by the environment that `cargo xtask test` sets.
//!
//! Every function panics when its variable is missing, and says how to get it: a test without its server fails.

use std::{env, path::PathBuf};

/// URL of a MySQL user who may do everything: `mysql://user:password@127.0.0.1:port`.
pub const MYSQL_URL: &str = "CACHEFRONT_MYSQL_URL";
/// URL of a Redis: `redis://127.0.0.1:port`.
pub const REDIS_URL: &str = "CACHEFRONT_REDIS_URL";
/// Program that runs `mysqld` with all that depends on the installation; a test adds the data directory and port.
pub const MYSQLD: &str = "CACHEFRONT_MYSQLD";
/// Folder that holds an initialised MySQL data directory, copied for each private server.
pub const MYSQL_TEMPLATE: &str = "CACHEFRONT_MYSQL_TEMPLATE";
/// The command line client `mysql`.
pub const MYSQL_CLIENT: &str = "CACHEFRONT_MYSQL_CLIENT";
/// The program `mysqlbinlog`.
pub const MYSQLBINLOG: &str = "CACHEFRONT_MYSQLBINLOG";
/// The program `redis-server`.
pub const REDIS_SERVER: &str = "CACHEFRONT_REDIS_SERVER";
/// The program `redis-cli`.
pub const REDIS_CLI: &str = "CACHEFRONT_REDIS_CLI";
/// The simulator's program, built before the tests.
pub const SIMULATOR: &str = "CACHEFRONT_SIMULATOR";
/// Folder for everything that the stack and the private servers write.
pub const STACK_DIR: &str = "CACHEFRONT_STACK_DIR";

/// URL of the shared MySQL, with a user who may do everything and without a database.
///
/// # Panics
/// If no stack was brought up.
pub fn mysql_url() -> String {
    required(MYSQL_URL)
}

/// URL of the shared Redis. Every test writes under a namespace of its own ([`crate::unique::namespace`]).
///
/// # Panics
/// If no stack was brought up.
pub fn redis_url() -> String {
    required(REDIS_URL)
}

/// Path of the `mysql` client.
///
/// # Panics
/// If no stack was brought up, or it has no client.
pub fn mysql_client() -> PathBuf {
    required(MYSQL_CLIENT).into()
}

/// Path of `mysqlbinlog`.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn mysqlbinlog() -> PathBuf {
    required(MYSQLBINLOG).into()
}

/// Path of the program that runs `mysqld`; it knows its installation, the caller adds the data directory.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn mysqld() -> PathBuf {
    required(MYSQLD).into()
}

/// An initialised data directory to copy, with the administrator of [`crate::server::mysql`] in it.
///
/// # Panics
/// If no stack was brought up, or it has no such folder.
pub fn mysql_template() -> PathBuf {
    required(MYSQL_TEMPLATE).into()
}

/// Path of `redis-server`.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn redis_server() -> PathBuf {
    required(REDIS_SERVER).into()
}

/// Path of `redis-cli`.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn redis_cli() -> PathBuf {
    required(REDIS_CLI).into()
}

/// Path of the simulator's program.
///
/// # Panics
/// If it was not built.
pub fn simulator() -> PathBuf {
    required(SIMULATOR).into()
}

/// Folder for what servers write: `CACHEFRONT_STACK_DIR`, or `target/stack`.
pub fn dir() -> PathBuf {
    match env::var_os(STACK_DIR) {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => target_dir().join("stack"),
    }
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` at the root of the workspace.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => workspace_root().join(dir),
        _ => workspace_root().join("target"),
    }
}

/// Root of the workspace.
///
/// # Panics
/// Never: this package lies one folder below the root.
pub fn workspace_root() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package lies in the workspace").to_owned()
}

fn required(name: &str) -> String {
    match env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!(
            "{name} is not set: this test needs real servers. Run `cargo xtask test`, or keep a stack up with \
             `cargo xtask stack up` and put it into the environment with `eval \"$(cargo xtask stack env)\"`"
        ),
    }
}
