//! No file names a place that only one machine has.

use crate::tree::{none, sources};

/// Where people and build machines keep their files. They are written in pieces here, since this file is checked too.
const PLACES: [[&str; 2]; 9] = [
    ["/ho", "me/"],
    ["/Us", "ers/"],
    ["/ro", "ot/"],
    ["/wo", "rk/"],
    ["/wor", "kspace/"],
    ["/m", "nt/"],
    ["/Vol", "umes/"],
    ["/t", "mp/"],
    ["/private/", "var/"],
];

/// Paths that are the same everywhere: the file, the line's text without its place, and why.
const ALLOWED: [(&str, &str, &str); 1] =
    [("Dockerfile", "WORKDIR ", "the folder of the user that the runtime image brings")];

/// Files of others, as they came.
const VENDORED: [&str; 2] = ["examples/simulator/loadgen/vendor/", "tests/browser/vendor/"];

#[test]
fn no_path_of_a_machine_is_written_down() {
    let places = PLACES.map(|pieces| pieces.concat());
    let (mut wrong, mut allowed) = (Vec::new(), Vec::new());
    for source in sources("").iter().filter(|source| !VENDORED.iter().any(|folder| source.path.starts_with(folder))) {
        for (at, line) in source.text.lines().enumerate() {
            if !places.iter().any(|place| begins_a_path(line, place)) && !has_drive(line) {
                continue;
            }
            match ALLOWED.iter().find(|(file, part, _)| source.path == *file && line.starts_with(part)) {
                Some(known) => allowed.push(known),
                None => wrong.push(format!("{}:{}: {}", source.path, at + 1, line.trim())),
            }
        }
    }
    none(&wrong, "paths that only one machine has: use a relative one, a setting or a temporary folder");
    assert_eq!(allowed.len(), ALLOWED.len(), "a path is allowed that is no longer used");
}

/// True if the text holds `place` as the begin of a path, not as a part of a longer one or of a URL.
fn begins_a_path(line: &str, place: &str) -> bool {
    let mut rest = line;
    let mut before = ' ';
    while let Some(at) = rest.find(place) {
        before = rest.get(..at).and_then(|text| text.chars().next_back()).unwrap_or(before);
        if !(before.is_alphanumeric() || "._-/}>*".contains(before)) {
            return true;
        }
        before = '/';
        rest = rest.get(at + place.len()..).unwrap_or_default();
    }
    false
}

/// True if the text holds a path of Windows: a letter alone, a colon and a backslash.
fn has_drive(line: &str) -> bool {
    let bytes = line.as_bytes();
    let is_alone = |at: usize| at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
    // An escape after a colon (`a:\n`) is none.
    let is_path = |at: usize| bytes.get(at + 3).is_some_and(|next| next.is_ascii_uppercase() || *next == b'\\');
    (0..bytes.len())
        .any(|at| bytes[at].is_ascii_uppercase() && is_alone(at) && bytes[at + 1..].starts_with(b":\\") && is_path(at))
}

#[test]
fn paths_of_machines_are_recognised() {
    let found = |line: &str| PLACES.iter().any(|pieces| begins_a_path(line, &pieces.concat())) || has_drive(line);
    for pieces in PLACES {
        assert!(found(&format!("cd {}x", pieces.concat())), "{pieces:?}");
    }
    assert!(found(&["D", ":\\", "Data"].concat()) && found(&["\"C", ":\\\\", "x\""].concat()));
    for fine in ["target/tmp/x", "https://example.org/home/x", "${dir}/work/x", "a:\\n", "GET /users/1"] {
        assert!(!found(fine), "{fine}");
    }
}
