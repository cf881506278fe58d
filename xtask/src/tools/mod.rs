//! The programs that `cargo xtask check` runs, and where they come from.
//!
//! A program of `target/tools` is taken first, since its version is known; then one on the PATH.

mod install;
mod list;

use std::{env, path::PathBuf, process::Command};

use cachefront_stack::environment as names;
use clap::Args;

use self::install::install;
use self::list::{COMPOSE, TOOLS, find, has_compose_plugin, lookup, missing, plugin};
use crate::{
    exec,
    failure::{Failure, Result},
};

/// Names the program in the environment of tests.
pub(crate) const PROMETHEUS: &str = "CACHEFRONT_PROMETHEUS";
/// As [`PROMETHEUS`].
pub(crate) const PROMTOOL: &str = "CACHEFRONT_PROMTOOL";

/// Which programs to install. Default: all that are missing.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these.
    name: Vec<String>,
    /// Only those that `cargo xtask check --quick` needs.
    #[arg(long)]
    quick: bool,
}

/// `cargo xtask tools`: installs what is missing into target/tools, also after one of them could not be had.
pub(crate) fn run(options: &Options) -> Result<()> {
    for name in &options.name {
        lookup(name)?;
    }
    let wanted = TOOLS.iter().filter(|tool| match options.name.is_empty() {
        true => tool.quick || !options.quick,
        false => options.name.iter().any(|name| name == tool.name),
    });
    let mut failed = Vec::new();
    for tool in wanted {
        if let Some(program) = find(tool.name) {
            eprintln!("tools: {:<20} {}", tool.name, program.display());
            continue;
        }
        if tool.name == COMPOSE && has_compose_plugin() {
            eprintln!("tools: {:<20} docker compose", tool.name);
            continue;
        }
        eprintln!("tools: {:<20} installing", tool.name);
        if let Err(failure) = install(tool) {
            exec::check_interrupted()?;
            eprintln!("tools: {:<20} {failure}", tool.name);
            failed.push(tool.name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(format!("not installed: {}", failed.join(", ")))) }
}

/// A command of the named tool, at the root of the workspace; the error says how to get it.
pub(crate) fn command(name: &str) -> Result<Command> {
    let tool = lookup(name)?;
    let mut command = match find(name) {
        Some(program) => Command::new(program),
        None if name == COMPOSE && has_compose_plugin() => plugin(),
        None => return Err(missing(tool)),
    };
    command.current_dir(names::workspace_root());
    Ok(command)
}

/// What tests of the dashboards need; they are unpacked if they are missing. Without them those tests fail and say why.
pub(crate) fn for_tests() -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    for (variable, name) in [(PROMETHEUS, "prometheus"), (PROMTOOL, "promtool")] {
        if env::var_os(variable).is_some_and(|value| !value.is_empty()) {
            continue;
        }
        match find(name).map_or_else(|| lookup(name).and_then(install), Ok) {
            Ok(program) => found.push((variable, program)),
            Err(failure) => eprintln!("tools: tests that need {name} will fail: {failure}"),
        }
    }
    found
}
