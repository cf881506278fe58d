//! The simulator.
mod config;
mod db;
mod domain;
mod fatal;
fn main() {}
