//! An error that causes another one is kept as its source.

use crate::tree::{none, sources};

/// The published crates.
const LIBRARIES: [&str; 5] =
    ["src/", "cachefront-core/src/", "cachefront-redis/src/", "cachefront-binlog/src/", "cachefront-kafka/src/"];

/// Names that variables of errors have.
const NAMES: [&str; 7] = ["e", "err", "error", "cause", "failure", "source", "why"];

/// Functions that print an error for a person, or look for a driver's words in it: the file, and a part of the line.
const ALLOWED: [(&str, &str); 5] = [
    ("cachefront-core/src/error.rs", "let words = error.to_string()"),
    ("cachefront-binlog/src/error.rs", "let words = cause.to_string();"),
    ("cachefront-binlog/src/origin.rs", "let text = error.to_string();"),
    ("cachefront-redis/src/error.rs", "let mut text = error.to_string();"),
    ("cachefront-redis/src/error.rs", "let words = error.to_string();"),
];

#[test]
fn no_error_is_turned_into_text() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for source in LIBRARIES.iter().flat_map(|folder| sources(folder)).filter(|source| !source.is_test()) {
        for line in source.product_code().lines() {
            seen += 1;
            let is_allowed = ALLOWED.iter().any(|(file, part)| source.path == *file && line.contains(part));
            if turns_error_into_text(line) && !is_allowed {
                wrong.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(seen > 5_000, "only {seen} lines found: this test looks in the wrong place");
    none(&wrong, "errors turned into text: keep them with `Error::with_source`, which users can downcast and print");
}

fn turns_error_into_text(line: &str) -> bool {
    let is_boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || "_.".contains(c));
    NAMES.iter().any(|name| {
        let called = format!("{name}.to_string()");
        let is_called = line.match_indices(&called).any(|(at, _)| is_boundary(line[..at].chars().next_back()));
        let printed = [format!("{{{name}}}"), format!("{{{name}:")];
        is_called || line.contains("format!(") && printed.iter().any(|printed| line.contains(printed))
    })
}

#[test]
fn errors_in_text_are_recognised() {
    for wrong in ["x(err.to_string())", "format!(\"no: {error}\")", "return error.to_string();"] {
        assert!(turns_error_into_text(wrong), "{wrong}");
    }
    for fine in
        ["name.to_string()", "my_error.to_string()", "with_source(kind, \"no\", error)", "write!(f, \"{error}\")"]
    {
        assert!(!turns_error_into_text(fine), "{fine}");
    }
}
