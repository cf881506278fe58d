//! The binary log as a change source, on a real MySQL server.

mod changes;
mod connection;
mod definitions;
mod faults;
mod gate;
mod limits;
mod login;
mod long_sets;
mod mariadb;
mod metadata;
mod minimal;
mod names;
mod origin;
mod preflight;
mod random;
mod server;
mod suite;
mod tls;
mod token;
mod values;
mod written;
mod xa;
