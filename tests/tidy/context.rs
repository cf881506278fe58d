//! What a build of the container image is given.

use std::{env, fs, path::Path, process::Command};

use cachefront_testkit::server::temporary_dir;
use cachefront_testkit::stack::workspace_root;

use crate::tree::{Source, none, sources};

/// Returns true if `.dockerignore`, which excludes all and then includes some, includes the path.
fn is_included(rules: &[&str], path: &str) -> bool {
    rules.iter().any(|rule| path == *rule || path.strip_prefix(rule).is_some_and(|rest| rest.starts_with('/')))
}

/// What is included for documentation tests only.
const DOCUMENTATION: [(&str, &str); 3] =
    [("src/lib.rs", "docs/guide.md"), ("src/lib.rs", "docs/guarantees.md"), ("src/lib.rs", "docs/migration.md")];

fn rules(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix('!')).collect()
}

#[test]
fn the_image_is_built_from_a_whole_workspace() {
    let text = fs::read_to_string(workspace_root().join(".dockerignore")).expect("a .dockerignore");
    let rules = rules(&text);
    let dir = temporary_dir("context");
    for source in sources("").iter().filter(|source| is_included(&rules, &source.path)) {
        let path = dir.path().join(&source.path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, &source.text).expect("a file can be written");
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(dir.path())
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .output()
        .expect("cargo can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the build of the image lacks a part of the workspace; name it in .dockerignore:\n{said}"
    );
}

#[test]
fn the_image_is_built_with_every_file_that_its_code_includes() {
    let text = fs::read_to_string(workspace_root().join(".dockerignore")).expect("a .dockerignore");
    let rules = rules(&text);
    let mut wrong = Vec::new();
    let code = |source: &&Source| source.is_rust() && !source.is_test() && is_included(&rules, &source.path);
    for source in sources("").iter().filter(code) {
        let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
        let code = source.product_code();
        for included in code.split("include_str!(\"").chain(code.split("include_bytes!(\"")).skip(1) {
            let Some((name, _)) = included.split_once("\")") else { continue };
            let path = normal(&folder.join(name));
            let is_missing = workspace_root().join(&path).is_file() && !is_included(&rules, &path);
            if is_missing && !DOCUMENTATION.contains(&(&source.path, &path)) {
                wrong.push(format!("{}: {path}", source.path));
            }
        }
    }
    none(&wrong, "files that code of the image includes, and .dockerignore does not");
}

/// Resolves `..` in a relative path.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part.as_os_str().to_string_lossy().as_ref() {
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    parts.join("/")
}
