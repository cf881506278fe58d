//! Several processes, releases and services on the same servers: what is not kept correct is not served from a cache.

mod cluster;
mod common;
mod crowd;
mod frozen;
mod mysql;
mod progress;
mod race;
mod redis;
mod releases;
mod replicas;
mod secure;
mod sentinel;
mod traps;
