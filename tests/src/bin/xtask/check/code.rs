//! The Rust code.

use std::process::Command;

use super::must;
use crate::{exec, failure::Result, tools};

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

/// The simulator's tests hold the committed description against the one that it serves.
pub(super) fn openapi() -> Result<()> {
    must(&mut cargo(&["test", "--quiet", "--package", "examples", "--example", "simulator", "openapi"])).map(drop)
}

pub(super) fn deny() -> Result<()> {
    let mut command = tools::command("cargo-deny")?;
    must(command.args(["--offline", "check", "licenses", "bans", "sources"])).map(drop)
}

pub(super) fn hack() -> Result<()> {
    let mut command = tools::command("cargo-hack")?;
    // Cargo's subcommands get their own name first.
    must(command.args(["hack", "check", "--quiet", "--package", "cachefront", "--feature-powerset", "--no-dev-deps"]))
        .map(drop)
}
