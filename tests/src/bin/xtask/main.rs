//! The project's own tool: `cargo xtask stack|test|check|bench`.

mod exec;
mod failure;
mod stack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own tool.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The servers that tests and examples use: MySQL and Redis.
    Stack {
        #[command(subcommand)]
        command: stack::Command,
    },
}

fn main() -> ExitCode {
    exec::stop_children_on_signals();
    let result = match Arguments::parse().command {
        Command::Stack { command } => stack::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
