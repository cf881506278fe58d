//! Documentation is written for users of the facade, wherever it is shown.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use cachefront_testkit::stack::workspace_root;

use crate::tree::{Source, none, sources};

/// The crates that are published and their folders; the facade is the first.
const LIBRARIES: [&str; 5] =
    ["src/", "cachefront-core/", "cachefront-redis/", "cachefront-binlog/", "cachefront-kafka/"];

/// The number of code blocks in the documentation that the guard below must at least find.
const BLOCKS_MIN: usize = 20;

#[test]
fn examples_name_the_facade_only() {
    // A user has `cachefront` in Cargo.toml and nothing else: what imports another crate does not compile there.
    let (mut blocks, mut wrong) = (0, Vec::new());
    for source in LIBRARIES.iter().flat_map(|folder| sources(folder)) {
        for (at, line) in example_lines(&source) {
            blocks += usize::from(line.starts_with("```"));
            let is_part =
                ["core", "redis", "binlog", "kafka"].iter().any(|name| line.contains(&format!("cachefront_{name}::")));
            // What appears in signatures is exported by the facade.
            let is_dependency = ["mysql_async::", "async_trait::", "bytes::", "uuid::"]
                .iter()
                .any(|name| line.starts_with(&format!("use {name}")) || line.contains(&format!("#[{name}")));
            if is_part || is_dependency {
                wrong.push(format!("{}:{at}: {line}", source.path));
            }
        }
    }
    none(&wrong, "examples that import another crate than the facade `cachefront`");
    assert!(blocks >= BLOCKS_MIN, "{blocks} code blocks were found: the test above proves nothing");
}

/// The lines of all code blocks of a file's documentation, numbered from 1, each block with its first line.
fn example_lines(source: &Source) -> Vec<(usize, String)> {
    let is_document = source.path.ends_with(".md");
    let mut is_open = false;
    let mut lines = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let line = line.trim_start();
        let text = if is_document { Some(line) } else { line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) };
        let Some(text) = text.map(str::trim_start) else {
            is_open = false;
            continue;
        };
        let is_fence = text.starts_with("```");
        if is_open && !is_fence || is_fence && !is_open {
            lines.push((at + 1, text.to_owned()));
        }
        is_open ^= is_fence;
    }
    lines
}

/// Where the repository's files are shown on the web.
const ON_THE_WEB: [&str; 3] = [
    "https://github.com/cachefront/cachefront/blob/main/",
    "https://github.com/cachefront/cachefront/tree/main/",
    "https://raw.githubusercontent.com/cachefront/cachefront/main/",
];

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let documents: Vec<Source> = sources("").into_iter().filter(|source| source.path.ends_with(".md")).collect();
    let (mut links, mut wrong) = (0, Vec::new());
    for source in &documents {
        for link in link_targets(&source.text) {
            links += 1;
            let on_the_web = ON_THE_WEB.iter().find_map(|start| link.strip_prefix(start));
            let (path, anchor) =
                on_the_web.unwrap_or(&link).split_once('#').unwrap_or((on_the_web.unwrap_or(&link), ""));
            let target = match on_the_web {
                Some(_) => PathBuf::from(path),
                None if link.contains("://") || link.starts_with("mailto:") => continue,
                None if path.is_empty() => PathBuf::from(&source.path),
                None => normal(&Path::new(&source.path).with_file_name("").join(path)),
            };
            if !workspace_root().join(&target).exists() {
                wrong.push(format!("{}: `{link}`: no such file", source.path));
                continue;
            }
            let document = documents.iter().find(|document| Path::new(&document.path) == target);
            if let Some(document) = document.filter(|_| !anchor.is_empty())
                && !headings(&document.text).any(|heading| heading == anchor)
            {
                wrong.push(format!("{}: `{link}`: no such heading", source.path));
            }
        }
    }
    none(&wrong, "links that lead nowhere");
    assert!(links > 100, "{links} links were found: the test above proves nothing");
}

#[test]
fn what_registries_show_has_no_relative_links() {
    let mut wrong = Vec::new();
    for folder in LIBRARIES {
        let path = readme_of(folder);
        let text = fs::read_to_string(workspace_root().join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let relative = link_targets(&text).filter(|link| !link.contains("://"));
        wrong.extend(relative.map(|link| format!("{path}: `{link}`")));
    }
    none(&wrong, "relative links in pages that docs.rs and the registry show");
}

#[test]
fn every_library_has_a_readme_licences_and_keywords() {
    let mut wrong = Vec::new();
    for folder in LIBRARIES {
        let root = workspace_root().join(folder.trim_end_matches("src/"));
        wrong.extend(
            ["LICENSE-MIT", "LICENSE-APACHE", "README.md"]
                .into_iter()
                .filter(|name| !root.join(name).is_file())
                .map(|name| format!("{folder}: no {name}")),
        );
        let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a library has a manifest");
        wrong.extend(
            ["description = ", "documentation = ", "readme = ", "keywords = ", "categories = ", "all-features = true"]
                .into_iter()
                .filter(|key| !manifest.contains(&format!("\n{key}")))
                .map(|key| format!("{folder}Cargo.toml: no `{key}`")),
        );
    }
    none(&wrong, "what a published crate must have");
}

#[test]
fn the_guide_names_metrics_of_the_library_only() {
    let guide = fs::read_to_string(workspace_root().join("docs/guide.md")).expect("the guide");
    let names = fs::read_to_string(workspace_root().join("cachefront-core/src/metrics.rs")).expect("the metrics");
    let is_part = |at: char| at.is_ascii_lowercase() || at == '_';
    let used: BTreeSet<&str> = guide
        .split(|at: char| !is_part(at))
        .filter(|word| {
            word.starts_with("cachefront_")
                && ["_total", "_seconds", "_up", "_on"].iter().any(|end| word.ends_with(end))
        })
        .collect();
    let wrong: Vec<String> =
        used.iter().filter(|name| !names.contains(&format!("\"{name}\""))).map(|&name| name.to_owned()).collect();
    none(&wrong, "metrics in docs/guide.md that the library does not emit");
    assert!(used.len() > 5 && !guide.contains("simulator_"), "{used:?}");
}

fn readme_of(folder: &str) -> String {
    format!("{}README.md", folder.trim_end_matches("src/"))
}

/// The targets of the inline links and images of a document, code left out.
fn link_targets(text: &str) -> impl Iterator<Item = String> {
    let mut is_code = false;
    let prose: Vec<&str> = text
        .lines()
        .filter(|line| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        })
        .collect();
    let prose = prose.join("\n");
    let targets: Vec<String> = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split_whitespace().next().unwrap_or_default().to_owned())
        .collect();
    targets.into_iter()
}

/// The anchors of a document's headings, as GitHub makes them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|at| at.is_alphanumeric() || " -_".contains(*at))
            .map(|at| if at == ' ' { '-' } else { at })
            .collect()
    })
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            part => path.push(part),
        }
        path
    })
}
