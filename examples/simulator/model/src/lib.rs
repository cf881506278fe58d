//! The simulator without its HTTP: users in a database, read through a cache that its change log keeps current.
//!
//! - [`domain`]: users, the mode, and the [`Database`](domain::Database) that holds both, implemented in [`db`];
//! - [`caches`]: how the library is used; [`servers`]: several app servers in one process, side by side;
//! - [`source`]: change capture for the embedded database;
//! - [`backend`]: the components of a role, opened as the [`settings`] say; [`faults`]: what can be broken on purpose;
//! - [`mode`], [`pipeline`], [`events`]: what all roles agree on and show;
//! - [`writes`]: what happened to each write, hop by hop;
//! - [`freshness`]: whether the freshness objective of the caches is met; [`replica`]: a replica that lags;
//! - [`inspector`]: compares cached entries with the database; [`connect`]: registers and follows Debezium's connector.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

pub mod backend;
pub mod caches;
pub mod change_times;
pub mod connect;
pub mod credentials;
pub mod db;
pub mod domain;
pub mod events;
pub mod faults;
pub mod freshness;
pub mod inspector;
pub mod kafka_report;
pub mod metrics;
pub mod mode;
pub mod pipeline;
pub mod poll;
pub mod process;
pub mod replica;
pub mod sample;
pub mod server_name;
pub mod servers;
pub mod settings;
pub mod shared_task;
pub mod source;
pub mod stages;
pub mod viewers;
pub mod waiting;
pub mod writes;
