//! Who imports whom inside a crate, file by file.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Source, sources};

/// One crate: its files, each with the files that it imports from. Tests are left out.
pub(crate) struct Crate {
    /// The folder that holds `lib.rs` or `main.rs`.
    pub(crate) root: String,
    /// Imports by file; both as paths below the root.
    pub(crate) imports: BTreeMap<String, BTreeSet<String>>,
}

impl Crate {
    /// Imports between the modules directly below the root: `cache` for all of `cache.rs` and `cache/`. The root file
    /// itself is the empty name.
    pub(crate) fn top_level(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, targets) in &self.imports {
            let own = top(file);
            let targets = targets.iter().map(|target| top(target)).filter(|target| *target != own);
            imports.entry(own.clone()).or_default().extend(targets);
        }
        imports
    }
}

fn top(file: &str) -> String {
    path_of(file).into_iter().next().unwrap_or_default()
}

/// All crates of the project, the suites of the tests among them.
pub(crate) fn crates() -> Vec<Crate> {
    let files: Vec<Source> = sources("").into_iter().filter(Source::is_rust).collect();
    let is_root = |source: &&Source| source.path.ends_with("/lib.rs") || source.path.ends_with("/main.rs");
    let roots: BTreeSet<&str> =
        files.iter().filter(is_root).filter_map(|root| Some(root.path.rsplit_once('/')?.0)).collect();
    roots.iter().map(|root| crate_at(root, &roots, &files)).collect()
}

fn crate_at(root: &str, roots: &BTreeSet<&str>, files: &[Source]) -> Crate {
    let below = |source: &&Source| {
        let Some(name) = source.path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')) else { return false };
        // A folder of tests, and a crate that is kept below another one.
        let is_of_other = roots
            .iter()
            .any(|other| *other != root && other.starts_with(root) && source.path.starts_with(&format!("{other}/")));
        !is_of_other && !name.ends_with("tests.rs") && !format!("/{name}").contains("/tests/")
    };
    let files: Vec<(String, String)> = files
        .iter()
        .filter(below)
        .map(|source| (source.path[root.len() + 1..].to_owned(), source.product_code()))
        .collect();
    let modules: BTreeMap<Vec<String>, &str> = files.iter().map(|(file, _)| (path_of(file), file.as_str())).collect();
    let imports = files
        .iter()
        .map(|(file, code)| {
            let targets = paths(&path_of(file), code)
                .into_iter()
                .filter_map(|path| resolve(&modules, path))
                .filter(|target| target != file)
                .collect();
            (file.clone(), targets)
        })
        .collect();
    Crate { root: root.to_owned(), imports }
}

/// The module of a file: `["cache", "read"]` of `cache/read.rs`, nothing of `lib.rs`.
fn path_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" | "main" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

/// The file that holds the longest known beginning of a path.
fn resolve(modules: &BTreeMap<Vec<String>, &str>, mut path: Vec<String>) -> Option<String> {
    loop {
        if let Some(file) = modules.get(&path) {
            return Some((*file).to_owned());
        }
        path.pop()?;
    }
}

/// All paths that the code of the module `own` names, from the root of its crate.
fn paths(own: &[String], code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // `$crate::` in a macro is a path for the macro's users.
    let code = code.replace("$crate::", "");
    let words = ["crate", "self", "super"].into_iter().map(str::to_owned).chain(children(&code));
    for word in words {
        for (at, _) in code.match_indices(&format!("{word}::")) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let (mut rest, mut base) = (&code[at + word.len() + 2..], own.to_vec());
            match word.as_str() {
                "crate" => base.clear(),
                "self" => {}
                "super" => {
                    base.pop();
                    while let Some(further) = rest.strip_prefix("super::") {
                        base.pop();
                        rest = further;
                    }
                }
                child => base.push(child.to_owned()),
            }
            expand(&base, rest, &mut found);
        }
    }
    found
}

/// The modules that a file declares.
fn children(code: &str) -> Vec<String> {
    let declared = code.lines().filter_map(|line| {
        let line = line.trim().strip_suffix(';')?;
        let name = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("pub(crate) mod "));
        name.or_else(|| line.strip_prefix("pub(super) mod ")).or_else(|| line.strip_prefix("mod "))
    });
    declared.map(str::to_owned).collect()
}

/// Adds the path at the beginning of `text`, or each path of a group in braces.
fn expand(base: &[String], text: &str, found: &mut Vec<Vec<String>>) {
    if let Some(group) = text.strip_prefix('{') {
        items(group).iter().for_each(|item| expand(base, item, found));
        return;
    }
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() || name == "self" {
        found.push(base.to_vec());
        return;
    }
    let path = [base, std::slice::from_ref(&name)].concat();
    match text[name.len()..].strip_prefix("::") {
        Some(rest) => expand(&path, rest, found),
        None => found.push(path),
    }
}

/// The items of a group, up to its closing brace.
fn items(group: &str) -> Vec<String> {
    let (mut depth, mut items, mut item) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                item.push(c);
            }
        }
    }
    items.push(item);
    items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// The groups of files that import each other, directly or indirectly.
pub(crate) fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|file| (file.as_str(), reached(imports, file))).collect();
    let mut circles: Vec<Vec<String>> = Vec::new();
    for (file, targets) in &reach {
        if !targets.contains(file) || circles.iter().any(|circle| circle.iter().any(|other| other == file)) {
            continue;
        }
        let back = targets.iter().filter(|target| reach.get(*target).is_some_and(|reach| reach.contains(file)));
        circles.push(back.map(|target| (*target).to_owned()).collect());
    }
    circles
}

fn reached<'a>(imports: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let (mut reached, mut pending) = (BTreeSet::new(), vec![from]);
    while let Some(file) = pending.pop() {
        for target in imports.get(file).into_iter().flatten() {
            if reached.insert(target.as_str()) {
                pending.push(target);
            }
        }
    }
    reached
}

#[test]
fn imports_are_found_in_every_form() {
    let own = ["a".to_owned(), "b".to_owned()];
    let code = "mod child;\nuse crate::error::Error;\nuse crate::{\n    clock::Clock,\n    store::{Store, deep::Lease},\n};\n\
        use super::c::D;\nuse super::super::e;\nuse self::f::G;\npub(crate) use child::H;\n\
        fn f() { crate::key::g(); not_child::x(); $crate::macro_path::y() }";
    let mut found: Vec<String> = paths(&own, code).iter().map(|path| path.join("::")).collect();
    found.sort();
    let expected = [
        "a::b::child::H",
        "a::b::f::G",
        "a::c::D",
        "clock::Clock",
        "e",
        "error::Error",
        "key::g",
        "store::Store",
        "store::deep::Lease",
    ];
    assert_eq!(found, expected);
}

#[test]
fn circles_are_found() {
    let imports = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"), ("e", "f")];
    let imports = imports.map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()])));
    assert_eq!(circles(&BTreeMap::from(imports)), [["a", "b", "c"]]);
}
