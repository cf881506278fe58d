//! The Rust code.

use std::{fs, process::Command};

use cachefront_stack::environment as names;

use super::run::must;
use crate::{
    exec,
    failure::{Context, Failure, Result},
    tools,
};

const OPENAPI: &str = "examples/simulator/api/openapi.json";

fn cargo(arguments: &[&str]) -> Command {
    let mut command = exec::cargo();
    command.args(arguments);
    command
}

pub(super) fn fmt() -> Result<()> {
    must(&mut cargo(&["fmt", "--all", "--check"])).map(drop)
}

pub(super) fn clippy() -> Result<()> {
    must(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])).map(drop)
}

pub(super) fn doc() -> Result<()> {
    must(cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings")).map(drop)
}

/// The committed description of the API is the one that the simulator serves.
pub(super) fn openapi() -> Result<()> {
    let served = exec::text(&mut cargo(&["run", "--quiet", "--example", "simulator", "--", "openapi"]))?;
    let committed = fs::read_to_string(names::workspace_root().join(OPENAPI)).context(|| OPENAPI.to_owned())?;
    match served.trim_end() == committed.trim_end() {
        true => Ok(()),
        false => {
            Err(Failure::new(format!("{OPENAPI} has drifted: cargo run --example simulator -- openapi > {OPENAPI}")))
        }
    }
}

/// The API keeps what its description promises: requests that fit it and requests that do not, against a running one.
pub(super) fn schemathesis() -> Result<()> {
    let simulator = crate::test::build_examples()?;
    let schemathesis = tools::command("schemathesis")?;
    let mut command = Command::new("sh");
    command.current_dir(names::workspace_root()).arg("examples/simulator/api/schemathesis.sh").arg(simulator);
    must(command.arg(schemathesis.get_program())).map(drop)
}

pub(super) fn deny() -> Result<()> {
    let mut command = tools::command("cargo-deny")?;
    // It checks the crates of every platform; a build has fetched those of this one only.
    must(&mut cargo(&["fetch", "--locked", "--quiet"]))?;
    must(command.args(["--offline", "check", "licenses", "bans", "sources"])).map(drop)
}

pub(super) fn hack() -> Result<()> {
    let mut command = tools::command("cargo-hack")?;
    // Cargo's subcommands get their own name first.
    must(command.args(["hack", "check", "--quiet", "--package", "cachefront", "--feature-powerset", "--no-dev-deps"]))
        .map(drop)
}

/// Every crate uses what it depends on.
pub(super) fn machete() -> Result<()> {
    must(tools::command("cargo-machete")?.arg(".")).map(drop)
}
