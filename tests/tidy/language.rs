//! One language: the words that code and documentation use, and those that they do not.

use std::collections::BTreeMap;

use crate::tree::{none, sources};

/// What is not written, and what is written in its place. Words are compared without case, and `_` separates words, so
/// that names of functions and tests count too.
const FORBIDDEN: [(&str, &str); 36] = [
    ("answers", "returns; replies; responses"),
    ("nothing if", "returns `None` if; does nothing if"),
    ("nothing where", "returns `None` where"),
    ("nothing when", "returns `None` when"),
    ("nothing unless", "returns `None` unless"),
    ("nothing for", "returns `None` for; does nothing for"),
    ("somebody", "name it: another process, the client, the reader"),
    ("nobody", "name it: no reader, no process"),
    ("anybody", "name it: any process, any client"),
    ("everybody", "name it: every process, all clients"),
    ("whoever", "name it: the process that, the client that"),
    ("so many", "maximum number of; this many"),
    ("so much", "maximum size of; this much"),
    ("a look", "a lookup; a peek; a check; a read"),
    ("one look", "one lookup; one check; one read"),
    ("two looks", "two checks; two reads; the poll interval"),
    ("looks at", "checks; reads; examines"),
    ("looks into", "peeks; reads"),
    ("looked at", "checked; read"),
    ("looking at", "checking; reading"),
    ("stands", "is; is set; is valid"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("anew", "again"),
    ("for ever", "forever"),
    ("under way", "in progress"),
    ("lately", "recently"),
    ("beside", "next to; besides"),
    ("told", "notified; asked; requested"),
    ("wish", "request; desired state"),
    ("wishes", "requests; desired state"),
    ("wished", "requested"),
    ("can not", "cannot"),
    ("ends in peace", "ends without an error; succeeds"),
    ("in vain", "without success; timed out"),
];

/// What is right although it holds a forbidden phrase.
const ALLOWED: [&str; 3] = ["stands by", "stands for", "stands in for"];

/// Places that are not rewritten yet, with the maximum number of forbidden phrases in them. A file belongs to the longest
/// name that its path begins with; all other files have none. The numbers only go down.
const NOT_REWRITTEN: [(&str, usize); 1] =
    // The comment is a server's own.
    [("cachefront-binlog/src/statement/tests.rs", 1)];

#[test]
fn text_uses_the_words_of_the_field() {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources("").iter().filter(|source| source.is_rust() || source.path.ends_with(".md")) {
        // This file lists them.
        if source.path != "tests/tidy/language.rs" {
            let lines = phrases(&source.text);
            let place = place_of(&source.path);
            found.entry(place).or_default().extend(
                lines.iter().map(|(line, phrase, advice)| format!("{}:{line}: \"{phrase}\": {advice}", source.path)),
            );
        }
    }
    let mut wrong = Vec::new();
    for (place, lines) in &found {
        let allowed = NOT_REWRITTEN.iter().find(|(name, _)| name == place).map_or(0, |(_, count)| *count);
        if lines.len() > allowed {
            wrong.extend(lines.iter().cloned());
            wrong.push(format!("{place:?} has {} forbidden phrases, {allowed} are allowed", lines.len()));
        } else if allowed > 0 {
            println!("{place}: {} forbidden phrases, {allowed} are allowed", lines.len());
        }
    }
    none(&wrong, "words that are not used here");
}

fn place_of(path: &str) -> &'static str {
    let places = NOT_REWRITTEN.iter().map(|(name, _)| *name).filter(|name| path.starts_with(name));
    places.max_by_key(|name| name.len()).unwrap_or_default()
}

/// Every forbidden phrase of a text, with the number of its line.
fn phrases(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let is_at = |at: usize, phrase: &str| {
        phrase.split(' ').enumerate().all(|(step, word)| words.get(at + step).is_some_and(|(_, other)| other == word))
    };
    let mut found = Vec::new();
    for (at, (line, word)) in words.iter().enumerate() {
        // Cheap first: almost no word begins a phrase.
        let mut candidates = FORBIDDEN.iter().filter(|(phrase, _)| phrase.starts_with(word.as_str())).peekable();
        if word.is_empty() || candidates.peek().is_none() || ALLOWED.iter().any(|phrase| is_at(at, phrase)) {
            continue;
        }
        let here = candidates.filter(|(phrase, _)| is_at(at, phrase));
        found.extend(here.map(|(phrase, advice)| (*line, *phrase, *advice)));
    }
    found
}

/// The words of a text in lower case, with their lines. A phrase does not go on over a punctuation mark: that is an empty
/// word. It does over the end of a line of a comment.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start().trim_start_matches(['/', '!']);
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_alphanumeric() {
                word.extend(c.to_lowercase());
                continue;
            }
            if !word.is_empty() {
                words.push((at + 1, std::mem::take(&mut word)));
            }
            if !(c.is_whitespace() || "_*`".contains(c)) {
                words.push((at + 1, String::new()));
            }
        }
    }
    words
}

/// Maximum length of a function's name. A test that needs a longer one checks two things.
const NAME_MAX: usize = 64;

#[test]
fn names_can_be_read_at_a_glance() {
    let mut wrong = Vec::new();
    for source in sources("").iter().filter(|source| source.is_rust()) {
        for (at, line) in source.text.lines().enumerate() {
            let Some((before, rest)) = line.split_once("fn ") else { continue };
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            if name.len() > NAME_MAX && !before.contains("//") {
                wrong.push(format!("{}:{}: {name} has {} characters", source.path, at + 1, name.len()));
            }
        }
    }
    none(&wrong, &format!("names of functions with more than {NAME_MAX} characters"));
}

#[test]
fn phrases_are_found_in_names_and_over_lines() {
    let found = |text: &str| phrases(text).iter().map(|(line, phrase, _)| (*line, *phrase)).collect::<Vec<_>>();
    assert_eq!(found("fn nobody_gets_in() {}"), [(1, "nobody")]);
    assert_eq!(found("/// It can\n/// not be read.\nx"), [(1, "can not")]);
    assert_eq!(found("// So many, at most. A standby stands by."), [(1, "so many")]);
    assert_eq!(found("// Nothing: if it ends. It cannot. `looks` up."), []);
}
