//! `cargo xtask check`: everything that needs no server, by the tools that know best.
//!
//! A tool that is missing fails its check and is named with the command that brings it.

mod agreement;
mod artefacts;
mod charts;
mod code;
mod run;

use std::time::Instant;

use clap::Args;

use crate::{
    exec,
    failure::{Failure, Result},
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

const CHECKS: [Check; 26] = [
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
    slow("unused dependencies", code::machete),
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
            Ok(()) => eprintln!("check: {:<19} ok     {seconds:>6.1} s", check.name),
            Err(failure) => {
                eprintln!("check: {:<19} FAILED {seconds:>6.1} s\n{failure}", check.name);
                failed.push(check.name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(format!("failed: {}", failed.join(", ")))) }
}
