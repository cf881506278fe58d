//! Documentation is written for users of the facade, wherever it is shown.

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
            if ["core", "redis", "binlog", "kafka"].iter().any(|name| line.contains(&format!("cachefront_{name}::"))) {
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
