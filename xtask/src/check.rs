//! `cargo xtask check`: everything that needs no server, by the tools that know best.
//!
//! A tool that is missing fails its check and is named with the command that brings it.

mod agreement;
mod artefacts;
mod charts;
mod code;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use cachefront_stack::environment as names;
use clap::Args;

use crate::{
    exec,
    failure::{Context, Failure, Result},
};

/// Which checks to run. Default: all.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what takes seconds: formats and artefacts; nothing that compiles.
    #[arg(long)]
    quick: bool,
    /// Only these, by name.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// One check.
struct Check {
    name: &'static str,
    quick: bool,
    run: fn() -> Result<()>,
}

const fn quick(name: &'static str, run: fn() -> Result<()>) -> Check {
    Check { name, quick: true, run }
}

const fn slow(name: &'static str, run: fn() -> Result<()>) -> Check {
    Check { name, quick: false, run }
}

const CHECKS: [Check; 25] = [
    quick("fmt", code::fmt),
    quick("dockerfile", artefacts::dockerfile),
    quick("compose", artefacts::compose),
    quick("workflows", artefacts::workflows),
    quick("workflow security", artefacts::workflow_security),
    quick("yaml", artefacts::yaml),
    quick("schemas", artefacts::schemas),
    quick("shell", artefacts::shell),
    quick("prometheus", artefacts::prometheus),
    quick("dashboards", artefacts::dashboards),
    quick("settings", artefacts::settings),
    quick("runbooks", artefacts::runbooks),
    quick("terraform format", charts::terraform_format),
    slow("clippy", code::clippy),
    slow("doc", code::doc),
    slow("openapi", code::openapi),
    slow("api description", code::schemathesis),
    slow("load generator", agreement::load_generator),
    slow("deny", code::deny),
    slow("hack", code::hack),
    slow("prometheus rules", artefacts::prometheus_rules),
    slow("helm lint", charts::lint),
    slow("helm template", charts::template),
    slow("kubernetes", charts::kubernetes),
    slow("tflint", charts::tflint),
];

/// Runs every check, also after one has failed, and names those that failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    for name in &options.only {
        if !CHECKS.iter().any(|check| check.name == name) {
            let known: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
            return Err(Failure::new(format!("there is no check {name:?}: {}", known.join(", "))));
        }
    }
    let wanted = CHECKS.iter().filter(|check| match options.only.is_empty() {
        true => check.quick || !options.quick,
        false => options.only.iter().any(|name| name == check.name),
    });
    let mut failed = Vec::new();
    for check in wanted {
        let started = Instant::now();
        let outcome = (check.run)();
        exec::check_interrupted()?;
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => eprintln!("check: {:<18} ok     {seconds:>6.1} s", check.name),
            Err(failure) => {
                eprintln!("check: {:<18} FAILED {seconds:>6.1} s\n{failure}", check.name);
                failed.push(check.name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(format!("failed: {}", failed.join(", ")))) }
}

/// Runs a command that says with its code whether all is well, and shows what it printed if not.
fn must(command: &mut Command) -> Result<String> {
    let output = exec::output(command)?;
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(printed),
        false => Err(Failure::new(exec::last_lines(&printed, 60))),
    }
}

/// All files below `folder` of the workspace with one of these endings.
fn files(folder: &str, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(&names::workspace_root().join(folder), endings, &mut found)?;
    found.sort();
    match found.is_empty() {
        true => {
            Err(Failure::new(format!("no {} in {folder}: this check looks at the wrong place", endings.join(", "))))
        }
        false => Ok(found),
    }
}

fn collect(dir: &Path, endings: &[&str], found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).context(|| format!("could not read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, endings, found)?;
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            found.push(path);
        }
    }
    Ok(())
}
