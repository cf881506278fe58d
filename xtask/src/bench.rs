//! `cargo xtask bench`: builds the program `bench` in release, runs it on the stack, keeps its report.

use std::fs;

use cachefront_stack::environment as names;
use clap::Args;

use crate::{
    exec,
    failure::{Failure, Result},
    stack,
};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fewer rounds and less work in each: well under a minute.
    #[arg(long)]
    quick: bool,
    /// Only measurements whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

/// Measures, prints the report and leaves it in `target/bench/latest.json`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let build = ["build", "--release", "--quiet", "--package", "cachefront-benches", "--bin", "bench"];
    if !exec::run(exec::cargo().args(build))?.success() {
        return Err(Failure::new("the program `bench` does not build"));
    }
    let dir = names::target_dir().join("bench");
    fs::create_dir_all(&dir)?;
    let out = dir.join("latest.json");
    let up = stack::up()?;
    let mut command = std::process::Command::new(names::target_dir().join("release/bench"));
    command.envs(&up.state.environment).arg("--out").arg(&out);
    if options.quick {
        command.arg("--quick");
    }
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    let status = exec::run(&mut command)?;
    drop(up);
    if status.success() { Ok(()) } else { Err(Failure::new(format!("the measurement failed ({status})"))) }
}
