//! No file imports from one that imports from it: what is above may know what is below, and never the other way round.

use crate::modules::{circles, crates};
use crate::tree::none;

#[test]
fn no_file_imports_from_one_that_imports_from_it() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for found in crates() {
        seen += found.imports.len();
        let circles = circles(&found.imports);
        wrong.extend(circles.iter().map(|circle| format!("{}: {}", found.root, circle.join(", "))));
    }
    assert!(seen > 300, "only {seen} files found: this test searches the wrong place");
    none(&wrong, "files that import each other in a circle: move what both need into a file of its own, below both");
}
