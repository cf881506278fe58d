//! What the project's tool and its tests share: where the servers are, and how they are started.
//!
//! - [`environment`]: the variables that `cargo xtask` sets and tests read, and the workspace's folders;
//! - [`port`]: free ports for servers;
//! - [`processes`]: what was started, and what was left running;
//! - [`mysql`], [`redis`], [`kafka`], [`connect`], [`jvm`]: command lines and settings of the servers;
//! - [`mutants`]: the list of changes of the code that the tests must notice.
//!
//! The tool is built before everything else, so this crate knows no client of any server and nothing of the library.

pub mod connect;
pub mod environment;
pub mod jvm;
pub mod kafka;
pub mod mutants;
pub mod mysql;
pub mod port;
pub mod processes;
pub mod redis;
