//! Where the shared servers are, by the environment that `cargo xtask test` sets.
//!
//! Every function panics when its variable is missing, and says how to get it: a test without its server fails.

use std::{
    env,
    path::{Path, PathBuf},
};

/// URL of a MySQL user who may do everything: `mysql://user:password@127.0.0.1:port`.
pub const MYSQL_URL: &str = "CACHEFRONT_MYSQL_URL";
/// URL of a Redis: `redis://127.0.0.1:port`.
pub const REDIS_URL: &str = "CACHEFRONT_REDIS_URL";
/// Program that runs `mysqld` with all that depends on the installation; a test adds the data directory and port.
pub const MYSQLD: &str = "CACHEFRONT_MYSQLD";
/// Folder that holds an initialised MySQL data directory, copied for each private server.
pub const MYSQL_TEMPLATE: &str = "CACHEFRONT_MYSQL_TEMPLATE";
/// Program that runs `valkey-server`.
pub const VALKEY_SERVER: &str = "CACHEFRONT_VALKEY_SERVER";
/// Program that runs `mariadbd`, of this machine's Debian (10.11 on Debian 12).
pub const MARIADBD: &str = "CACHEFRONT_MARIADBD";
/// Folder that holds an initialised MariaDB data directory.
pub const MARIADB_TEMPLATE: &str = "CACHEFRONT_MARIADB_TEMPLATE";
/// Program that runs the `mariadbd` of Debian unstable (11.8 or later).
pub const MARIADBD_NEW: &str = "CACHEFRONT_MARIADBD_NEW";
/// Folder that holds a data directory of it.
pub const MARIADB_NEW_TEMPLATE: &str = "CACHEFRONT_MARIADB_NEW_TEMPLATE";
/// The command line client `mysql`.
pub const MYSQL_CLIENT: &str = "CACHEFRONT_MYSQL_CLIENT";
/// The program `mysqlbinlog`.
pub const MYSQLBINLOG: &str = "CACHEFRONT_MYSQLBINLOG";
/// The program `redis-server`.
pub const REDIS_SERVER: &str = "CACHEFRONT_REDIS_SERVER";
/// The program `redis-cli`.
pub const REDIS_CLI: &str = "CACHEFRONT_REDIS_CLI";
/// Where clients find Kafka: `127.0.0.1:port`.
pub const KAFKA_BROKERS: &str = "CACHEFRONT_KAFKA_BROKERS";
/// URL of Kafka Connect: `http://127.0.0.1:port`.
pub const CONNECT_URL: &str = "CACHEFRONT_CONNECT_URL";
/// URL of the same MySQL as Connect sees it. Absent: the same as clients see.
pub const CONNECT_MYSQL_URL: &str = "CACHEFRONT_CONNECT_MYSQL_URL";
/// Where Connect finds the same Kafka. Absent: where clients do.
pub const CONNECT_KAFKA_BROKERS: &str = "CACHEFRONT_CONNECT_KAFKA_BROKERS";
/// The program `java`.
pub const JAVA: &str = "CACHEFRONT_JAVA";
/// Folder of the jars of Kafka and Connect.
pub const KAFKA_LIBS: &str = "CACHEFRONT_KAFKA_LIBS";
/// Folder of Connect's plug-ins, Debezium among them.
pub const CONNECT_PLUGINS: &str = "CACHEFRONT_CONNECT_PLUGINS";
/// Folder that holds a formatted, empty log directory of Kafka, copied for each broker.
pub const KAFKA_TEMPLATE: &str = "CACHEFRONT_KAFKA_TEMPLATE";
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

/// URL of the shared Redis. Every test writes under a namespace of its own (`unique::namespace`).
///
/// # Panics
/// If no stack was brought up.
pub fn redis_url() -> String {
    required(REDIS_URL)
}

/// Where clients find the shared Kafka. Every test uses topics of its own.
///
/// # Panics
/// If no stack was brought up.
pub fn kafka_brokers() -> String {
    required(KAFKA_BROKERS)
}

/// URL of the shared Connect. Every test registers connectors of its own.
///
/// # Panics
/// If no stack was brought up.
pub fn connect_url() -> String {
    required(CONNECT_URL)
}

/// URL of the shared MySQL as the shared Connect sees it.
///
/// # Panics
/// If no stack was brought up.
pub fn connect_mysql_url() -> String {
    given(CONNECT_MYSQL_URL).unwrap_or_else(mysql_url)
}

/// Where the shared Connect finds the shared Kafka.
///
/// # Panics
/// If no stack was brought up.
pub fn connect_kafka_brokers() -> String {
    given(CONNECT_KAFKA_BROKERS).unwrap_or_else(kafka_brokers)
}

/// Path of `java`.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn java() -> PathBuf {
    required(JAVA).into()
}

/// Folder of the jars of Kafka and Connect.
///
/// # Panics
/// If no stack was brought up, or it has no such folder.
pub fn kafka_libs() -> PathBuf {
    required(KAFKA_LIBS).into()
}

/// Folder of Connect's plug-ins.
///
/// # Panics
/// If no stack was brought up, or it has no such folder.
pub fn connect_plugins() -> PathBuf {
    required(CONNECT_PLUGINS).into()
}

/// A formatted, empty log directory of Kafka to copy.
///
/// # Panics
/// If no stack was brought up, or it has no such folder.
pub fn kafka_template() -> PathBuf {
    required(KAFKA_TEMPLATE).into()
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

/// An initialised data directory to copy, with the administrator of [`crate::mysql`] in it.
///
/// # Panics
/// If no stack was brought up, or it has no such folder.
pub fn mysql_template() -> PathBuf {
    required(MYSQL_TEMPLATE).into()
}

/// Path of the program that runs MariaDB.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn mariadbd() -> PathBuf {
    required(MARIADBD).into()
}

/// An initialised data directory of [`mariadbd`] to copy.
///
/// # Panics
/// If no stack was brought up, or it has no such folder.
pub fn mariadb_template() -> PathBuf {
    required(MARIADB_TEMPLATE).into()
}

/// Path of the program that runs the newer MariaDB.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn mariadbd_new() -> PathBuf {
    required(MARIADBD_NEW).into()
}

/// An initialised data directory of [`mariadbd_new`] to copy.
///
/// # Panics
/// If no stack was brought up, or it has no such folder.
pub fn mariadb_new_template() -> PathBuf {
    required(MARIADB_NEW_TEMPLATE).into()
}

/// Path of `redis-server`.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn redis_server() -> PathBuf {
    required(REDIS_SERVER).into()
}

/// Path of `valkey-server`.
///
/// # Panics
/// If no stack was brought up, or it has no such program.
pub fn valkey_server() -> PathBuf {
    required(VALKEY_SERVER).into()
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

/// Path of another example's program: it is next to the simulator's.
///
/// # Panics
/// If the examples were not built.
pub fn example(name: &str) -> PathBuf {
    simulator().with_file_name(name)
}

/// Folder for what servers write: `CACHEFRONT_STACK_DIR`, or `target/stack`.
pub fn dir() -> PathBuf {
    match env::var_os(STACK_DIR) {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => target_dir().join("stack"),
    }
}

/// Folder of all servers that tests start: `cargo xtask` sweeps it after a run that was cut short.
pub fn private_dir() -> PathBuf {
    dir().join("private")
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
/// Never: this package is `tests/stack`, two folders below the root.
pub fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("the package is in the workspace").to_owned()
}

fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn required(name: &str) -> String {
    match given(name) {
        Some(value) => value,
        None => panic!(
            "{name} is not set: this test needs real servers. Run `cargo xtask test`, or keep a stack up with \
             `cargo xtask stack up` and put it into the environment with `eval \"$(cargo xtask stack env)\"`"
        ),
    }
}
