//! The simulator.
mod config;
mod db;
mod domain;
mod fatal;
mod source;
fn main() {}
