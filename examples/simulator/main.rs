//! The simulator: a cache that is kept right by the database's change log, next to one that only ages.
//!
//! `cargo run --example simulator` needs nothing installed. The program is in the crates of this folder; `app` is where it
//! begins.

use std::process::ExitCode;

fn main() -> ExitCode {
    simulator::main()
}
