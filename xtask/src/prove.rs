//! `cargo xtask prove`: runs the simulated world and the model in release, for as many operations and states as are asked for;
//! or the races under failovers of real servers.

use clap::Args;

use crate::{
    exec,
    failure::{Failure, Result},
    stack,
};

/// How much to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Operations of all worlds together: reads, writes and faults.
    #[arg(long, default_value_t = 100_000_000)]
    operations: u64,
    /// The seed of the first world; each further world has the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worlds that run at the same time, each on a thread of its own.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Maximum number of states of each configuration of the model; 0 leaves the model out.
    #[arg(long, default_value_t = 20_000_000)]
    states: u64,
    /// Real servers instead: a Redis Cluster, Sentinel and MySQL fail over every ten seconds under load, for this many seconds
    /// each.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "120")]
    deployments: Option<u64>,
}

/// Runs the model, then the worlds; prints what was visited and done, and what was wrong.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(seconds) = options.deployments {
        return race(seconds);
    }
    if options.states > 0 {
        check(options.states)?;
    }
    simulate(options)
}

/// Runs the races on the stack, one after the other.
fn race(seconds: u64) -> Result<()> {
    let up = stack::up()?;
    let mut command = exec::cargo();
    command
        .args(["test", "--quiet", "--package", "cachefront-tests", "--test", "deployments"])
        .args(["--", "race_under_failovers", "--nocapture", "--test-threads", "1"])
        .envs(&up.state.environment)
        .env("CACHEFRONT_DEPLOYMENT_SECONDS", seconds.to_string());
    let status = exec::run(&mut command)?;
    drop(up);
    if status.success() { Ok(()) } else { Err(Failure::new(format!("a race is wrong, or does not build ({status})"))) }
}

/// Runs every configuration of the model.
fn check(states: u64) -> Result<()> {
    let mut command = exec::cargo();
    command
        .args(["test", "--release", "--quiet", "--package", "cachefront-model", "--test", "model"])
        // One after the other: each may need gigabytes.
        .args(["--", "--nocapture", "--test-threads", "1"])
        .env("CACHEFRONT_MODEL_STATES", states.to_string());
    let status = exec::run(&mut command)?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("the model is wrong, or does not build ({status})")))
    }
}

/// Runs the worlds.
fn simulate(options: &Options) -> Result<()> {
    let test = ["test", "--release", "--quiet", "--package", "cachefront-world", "--test", "world"];
    let only = ["--", "--nocapture", "--exact", "every_answer_is_right_at_its_level"];
    let mut command = exec::cargo();
    command
        .args(test)
        .args(only)
        .env("CACHEFRONT_WORLD_OPERATIONS", options.operations.to_string())
        .env("CACHEFRONT_WORLD_SEED", options.seed.to_string())
        .env("CACHEFRONT_WORLD_JOBS", options.jobs.to_string());
    let status = exec::run(&mut command)?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("a world is wrong, or does not build ({status})"))) }
}
