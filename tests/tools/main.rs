//! The small examples as programs: the tools that show what the adapters see, and the wirings.

mod binlog;
mod debezium;
mod wiring;

use std::path::{Path, PathBuf};
use std::process::Command;

use cachefront_testkit::stack;
use serde_json::Value;

/// How a program ended, and its lines.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Value>,
    pub(crate) errors: String,
}

impl Ran {
    /// How many lines have this `op`.
    pub(crate) fn count(&self, op: &str) -> usize {
        self.lines.iter().filter(|line| line["op"] == op).count()
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Ran {
    let output = Command::new(stack::example(program)).args(arguments).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")));
    Ran {
        code: output.status.code(),
        lines: lines.collect(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A file of the recorded logs and records.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
