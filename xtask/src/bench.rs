//! `cargo xtask bench`: builds the program `bench` in release, runs it on the stack, keeps its report.

use std::fs;
use std::path::PathBuf;

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
    /// Only this: what the operations cost in a cluster of three nodes, from 1,000 keys to this many, from 1 to 100 caches, and
    /// with up to 32 other processes that follow the bus.
    #[arg(long, value_name = "KEYS", num_args = 0..=1, default_missing_value = "1000000")]
    scale: Option<u64>,
    /// Fails if a ratio is worse by more than 15 % than in this report of a former run on this machine, twice.
    #[arg(long, value_name = "REPORT", conflicts_with = "scale")]
    against: Option<PathBuf>,
    /// Only this: the times of other caches and the rates of other readers of the binary log next to cachefront's. Builds them, which
    /// takes minutes.
    #[arg(long, conflicts_with_all = ["quick", "only", "scale", "against"])]
    peers: bool,
}

/// Programs that compare with others' crates. Each is a workspace of its own.
const PEERS: [&str; 2] = ["cache-peers", "log-peers"];

/// Measures, prints the report and leaves it in `target/bench/latest.json`, or `scale.json`.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.peers {
        return run_peers();
    }
    let build = ["build", "--release", "--quiet", "--package", "cachefront-benches", "--bin", "bench"];
    if !exec::run(exec::cargo().args(build))?.success() {
        return Err(Failure::new("the program `bench` does not build"));
    }
    let dir = names::target_dir().join("bench");
    fs::create_dir_all(&dir)?;
    let out = dir.join(if options.scale.is_some() { "scale.json" } else { "latest.json" });
    let up = stack::up()?;
    let mut command = std::process::Command::new(names::target_dir().join("release/bench"));
    command.envs(&up.state.environment).arg("--out").arg(&out);
    if options.quick {
        command.arg("--quick");
    }
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    if let Some(against) = &options.against {
        command.arg("--against").arg(against);
    }
    if let Some(keys) = options.scale {
        command.arg("--scale").arg(keys.to_string());
    }
    let status = exec::run(&mut command)?;
    drop(up);
    if status.success() { Ok(()) } else { Err(Failure::new(format!("the measurement failed ({status})"))) }
}

/// Runs the programs with peers, which print their reports.
fn run_peers() -> Result<()> {
    let up = stack::up()?;
    for name in PEERS {
        let manifest = format!("benches/{name}/Cargo.toml");
        let mut command = exec::cargo();
        command.args(["run", "--release", "--quiet", "--manifest-path", &manifest]).envs(&up.state.environment);
        let status = exec::run(&mut command)?;
        if !status.success() {
            return Err(Failure::new(format!("the measurement of {name} failed ({status})")));
        }
    }
    Ok(())
}
