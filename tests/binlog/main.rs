//! The binary log as a change source, on a real MySQL server.

mod changes;
mod server;
