//! Installs a tool below target/tools, from the registry that has it.

use std::{fs, path::PathBuf, process::Command};

use cachefront_stack::environment as names;

use super::list::{From, Tool, dir, find, missing};
use crate::{
    exec,
    failure::{Context, Failure, Result},
    stack::debian::{Suite, Tree},
};

/// Installs `tool` and returns its program.
pub(super) fn install(tool: &Tool) -> Result<PathBuf> {
    fs::create_dir_all(dir().join("bin")).context(|| format!("could not make {}", dir().display()))?;
    match tool.from {
        From::Python(package, version) => python(package, version)?,
        From::Go(package, version) => go(package, version)?,
        From::Cargo(package, version) => cargo(package, version)?,
        From::Debian(package, program, _) => {
            debian(tool.name, package, program).context(|| missing(tool).to_string())?;
        }
        From::Elsewhere(_) => return Err(missing(tool)),
    }
    find(tool.name).ok_or_else(|| Failure::new(format!("its package brought no program {}", tool.name)))
}

fn python(package: &str, version: &str) -> Result<()> {
    let venv = dir().join("python");
    if !venv.join("bin/pip").exists() {
        exec::text(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            .context(|| "Python 3 with venv is needed (Debian: python3-venv)".to_owned())?;
    }
    let requirement = format!("{package}=={version}");
    exec::text(Command::new(venv.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        &requirement,
    ]))?;
    Ok(())
}

fn go(package: &str, version: &str) -> Result<()> {
    // Helm's dependencies take minutes to build.
    exec::text(Command::new("go").args(["install", &format!("{package}@{version}")]).env("GOBIN", dir().join("bin")))
        .context(|| "Go 1.26 or newer is needed".to_owned())?;
    Ok(())
}

fn cargo(package: &str, version: &str) -> Result<()> {
    let requirement = format!("{package}@{version}");
    exec::text(
        exec::cargo()
            .args(["install", "--quiet", "--locked", &requirement])
            .arg("--root")
            .arg(dir())
            .arg("--target-dir")
            .arg(dir().join("build")),
    )?;
    let _ = fs::remove_dir_all(dir().join("build"));
    Ok(())
}

fn debian(name: &str, package: &str, program: &str) -> Result<()> {
    // Where the servers are unpacked too: both share one list of packages.
    let tree = Tree::unpack(&names::dir().join("programs"), Suite::Sid, name, &[package])?;
    tree.wrap(program, "", &dir().join("bin").join(name))
}
