//! `cargo xtask check`: everything that needs no server.

use std::process::Command;

use crate::{
    exec,
    failure::{Failure, Result},
};

/// Runs every check, also after one has failed, and names those that failed.
pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    for (name, mut command) in checks() {
        eprintln!("check: {name}");
        if !exec::run(&mut command)?.success() {
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(format!("failed: {}", failed.join(", ")))) }
}

fn checks() -> Vec<(&'static str, Command)> {
    let mut checks = vec![
        ("fmt", cargo(&["fmt", "--all", "--check"])),
        ("clippy", cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])),
        ("doc", cargo(&["doc", "--workspace", "--no-deps", "--quiet"])),
    ];
    if let Some((_, doc)) = checks.last_mut() {
        doc.env("RUSTDOCFLAGS", "-D warnings");
    }
    // Tools that not everybody has; the project's CI on GitHub runs them always.
    let optional = [
        ("deny", cargo(&["deny", "check", "licenses", "bans", "sources"])),
        ("hack", cargo(&["hack", "check", "--package", "cachefront", "--feature-powerset", "--no-dev-deps"])),
    ];
    for (tool, command) in optional {
        if has(tool) {
            checks.push((tool, command));
        } else {
            eprintln!("check: cargo-{tool} is not installed: left out (cargo install cargo-{tool})");
        }
    }
    checks
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = exec::cargo();
    command.args(arguments);
    command
}

fn has(tool: &str) -> bool {
    exec::output(exec::cargo().args([tool, "--version"])).is_ok_and(|output| output.status.success())
}
