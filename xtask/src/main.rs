//! The project's own tool: `cargo xtask stack|test|check|tools|validate|bench|mutants|prove`.

mod bench;
mod check;
mod exec;
mod failure;
mod mutants;
mod path;
mod prove;
mod stack;
mod test;
mod tools;
mod validate;

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
    /// The servers that tests and examples use: MySQL, Redis, Kafka and Kafka Connect.
    Stack {
        #[command(subcommand)]
        command: stack::Command,
    },
    /// Brings the servers up, runs all tests of all crates, and stops the servers whatever happens.
    Test(test::Options),
    /// Everything that needs no server: code, containers, workflows, rules, dashboards, chart, Terraform.
    Check(check::Options),
    /// Installs the programs that `check` runs into target/tools.
    Tools(tools::Options),
    /// The checklist before a demonstration: machine, stack, both demos over HTTP.
    Validate(validate::Options),
    /// Changes the code in one place after the other and checks that a test fails for each change.
    Mutants(mutants::Options),
    /// Measures ours against the raw clients and writes ratios to target/bench/latest.json.
    Bench(bench::Options),
    /// Runs simulated worlds, in release, and judges every answer of the cache.
    Prove(prove::Options),
}

fn main() -> ExitCode {
    exec::stop_children_on_signals();
    let result = match Arguments::parse().command {
        Command::Stack { command } => stack::run(&command),
        Command::Test(options) => test::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Tools(options) => tools::run(&options),
        Command::Validate(options) => validate::run(&options),
        Command::Mutants(options) => mutants::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Prove(options) => prove::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_silent() {
                eprintln!("xtask: {failure}");
            }
            ExitCode::FAILURE
        }
    }
}
