//! What several checks do: run a program, and collect files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cachefront_stack::environment as names;

use crate::{
    exec,
    failure::{Context, Failure, Result},
};

/// Runs a command and returns what it printed; fails with its last lines if its exit code is not 0.
pub(super) fn must(command: &mut Command) -> Result<String> {
    let output = exec::output(command)?;
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(printed),
        false => Err(Failure::new(exec::last_lines(&printed, 60))),
    }
}

/// All files below `folder` of the workspace with one of these endings.
pub(super) fn files(folder: &str, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(&names::workspace_root().join(folder), endings, &mut found)?;
    found.sort();
    match found.is_empty() {
        true => {
            Err(Failure::new(format!("no {} in {folder}: this check searches the wrong place", endings.join(", "))))
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
