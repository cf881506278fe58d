//! Servers of one test's own: to be killed, restarted, restored and purged without disturbing other tests.
//!
//! They listen on 127.0.0.1 on a port that they keep over restarts, hold their data in a temporary folder below the
//! stack's, and end when their value is dropped. They stay in the test's process group, so that Ctrl-C reaches them.

mod child;
pub mod cluster;
pub mod connect;
mod folder;
pub mod jvm;
pub mod kafka;
pub mod mariadb;
pub mod mysql;
mod private;
pub mod redis;
pub mod sentinel;
mod sql;
pub mod tls;

pub use child::Process;
pub use cluster::{Cluster, shared_cluster, shared_valkey, shared_valkey_cluster};
pub use connect::Connect;
pub use folder::temporary_dir;
pub use kafka::Kafka;
pub use mariadb::MariaDb;
pub use mysql::MySql;
pub use private::{Private, Spec};
pub use redis::Redis;
pub use sentinel::SentinelGroup;
