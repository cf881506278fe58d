//! The project's files, as `git ls-files` would name them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cachefront_testkit::stack::workspace_root;

/// A text file of the project.
pub(crate) struct Source {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True if the file is about tests and nothing else.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The code before the unit tests at the end of the file, without comments.
    pub(crate) fn product_code(&self) -> String {
        let text = self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }
}

/// All text files of the project below `folder` (`""`: the whole project).
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let root = workspace_root();
    let mut paths = Vec::new();
    collect(&root.join(folder), &mut paths);
    let mut sources: Vec<Source> = paths
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            let path = path.strip_prefix(&root).ok()?.to_string_lossy().into_owned();
            Some(Source { path, text })
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!sources.is_empty(), "no file below {}", root.join(folder).display());
    sources
}

/// Fails with the list of what is wrong.
#[track_caller]
pub(crate) fn none(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

/// Fails if a page that is made by a test differs from `made`. With `BLESS` it is written first.
#[track_caller]
pub(crate) fn is_up_to_date(page: &str, made: &str) {
    let path = workspace_root().join(page);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, made).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "{page} is out of date: BLESS=1 cargo test -p cachefront-tests --test tidy");
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display())) {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // Folders that are never committed.
            if !["target", ".git", ".cachefront", ".stack", "node_modules"].contains(&name.as_str()) {
                collect(&path, paths);
            }
        // Nor these: a worktree's pointer to its repository, and a person's own settings.
        } else if path.is_file() && ![".git", ".env"].contains(&name.as_str()) {
            paths.push(path);
        }
    }
}
