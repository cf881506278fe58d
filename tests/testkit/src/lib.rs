//! What a test over real servers imports: the stack that `cargo xtask test` brings up, servers of its own for
//! faults, names that no other test uses, and waits that end.
//!
//! - [`stack`]: addresses of the shared MySQL, Redis, Kafka and Connect, and the programs of the servers;
//! - [`server`]: a private MySQL, Redis, Kafka or Connect that a test may kill, restart, restore or purge;
//! - [`connector`]: a Debezium connector of one test's own;
//! - [`process`]: the simulator as a program of its own;
//! - [`shop`]: a table, a cache and an invalidator, and [`actor`]: a process of its own on them;
//! - [`readers`]: readers that work while something else happens;
//! - [`fleet`]: several processes of one service, which judge every answer;
//! - [`address`]: an address that leads to one server or another;
//! - [`unique`]: a fresh database or namespace for one test;
//! - [`wait`]: wait for a condition, with a bound and the caller's name.
//!
//! A missing server fails the test that asks for it. Nothing skips.

pub mod actor;
pub mod address;
pub mod connector;
pub mod fleet;
pub mod process;
pub mod readers;
pub mod server;
pub mod shop;
pub mod unique;
pub mod wait;

pub use cachefront_stack::{environment as stack, port, processes};
