//! What the pages on the code name is where they say it is.

use crate::tree::{Source, none, sources};

/// The pages, and where their paths begin.
const PAGES: [&str; 2] = ["docs/protocol.md", "ARCHITECTURE.md"];

/// The folders in which a path may begin.
const ROOTS: [&str; 6] =
    ["", "cachefront-core/src/", "cachefront-redis/src/", "cachefront-binlog/src/", "cachefront-kafka/src/", "tests/"];

/// A name on a page, and the file that it is said to be in.
type Claim<'a> = (&'a str, &'a str);

#[test]
fn the_pages_name_code_that_is_there() {
    let files: Vec<Source> = sources("").into_iter().filter(Source::is_rust).collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in PAGES {
        let text = sources("").into_iter().find(|source| source.path == page).expect("a page").text;
        for (name, file) in claims(&text) {
            seen += 1;
            let last = name.rsplit("::").next().unwrap_or_default();
            let is_it = |source: &&Source| ROOTS.iter().any(|root| source.path == format!("{root}{file}"));
            let has_it = |source: &Source| source.text.split(|c: char| !is_of_name(c)).any(|word| word == last);
            if !files.iter().filter(is_it).any(has_it) {
                wrong.push(format!("{page}: `{name}` is not in `{file}`"));
            }
        }
    }
    none(&wrong, "names that are not where the pages say");
    assert!(seen > 100, "{seen} names were found: the test above proves nothing");
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Reads "`file.rs` `name`, `name`" and "`name`, `name` (`file.rs`)": the names directly next to a file.
fn claims(text: &str) -> Vec<Claim<'_>> {
    // Text and code in turns.
    let parts: Vec<&str> = text.split('`').collect();
    let code = |at: usize| parts.get(at).copied().filter(|_| at % 2 == 1);
    let is_file = |code: &str| code.ends_with(".rs") && !code.contains(char::is_whitespace);
    let is_name = |code: &str| !code.is_empty() && code.chars().all(|c| is_of_name(c) || c == ':');
    let mut claims = Vec::new();
    for at in (1..parts.len()).step_by(2) {
        let Some(file) = code(at).filter(|code| is_file(code)) else { continue };
        let mut next = at;
        while is_one_of(parts[next + 1], if next == at { &[""] } else { &["", ",", "and"] })
            && let Some(name) = code(next + 2).filter(|code| is_name(code))
        {
            claims.push((name, file));
            next += 2;
        }
        if parts[at - 1].trim() == "(" && parts[at + 1].starts_with(')') {
            let name = at.checked_sub(2).and_then(code).filter(|code| is_name(code) && code.len() > 10);
            claims.extend(name.map(|name| (name, file)));
        }
    }
    claims
}

fn is_one_of(between: &str, words: &[&str]) -> bool {
    words.contains(&between.trim())
}

#[test]
fn names_next_to_a_file_are_claims() {
    let text = "*Held by.* `a/b.rs` `Store::get`, `one` (why), `c.rs`; `d.rs`, `e.rs` `two`\n  and `three`. `a_long_test_of_it` (`f.rs`).";
    let expected = [("Store::get", "a/b.rs"), ("one", "a/b.rs"), ("two", "e.rs"), ("three", "e.rs")];
    assert_eq!(claims(text), [&expected[..], &[("a_long_test_of_it", "f.rs")]].concat());
}
