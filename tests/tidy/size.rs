//! One file, one job: a file that has grown past the limit has found a second one.

use crate::tree::{none, sources};

/// Lines that are not blank.
const LINES_MAX: usize = 500;

#[test]
fn no_source_file_is_longer_than_500_lines() {
    let wrong: Vec<String> = sources("")
        .iter()
        .filter(|source| [".rs", ".lua", ".js", ".css", ".html", ".sh"].iter().any(|end| source.path.ends_with(end)))
        .filter_map(|source| {
            let lines = source.text.lines().filter(|line| !line.trim().is_empty()).count();
            (lines > LINES_MAX).then(|| format!("{} has {lines}", source.path))
        })
        .collect();
    none(&wrong, "files of more than 500 lines that are not blank: split them by job");
}
