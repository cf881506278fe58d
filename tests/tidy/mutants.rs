//! The list of mutants fits the code of today.

use std::fs;

use cachefront_stack::mutants;
use cachefront_testkit::stack::workspace_root;

use crate::tree::{Source, none, sources};

#[test]
fn every_mutant_changes_one_text_that_is_there() {
    let root = workspace_root();
    let mutants = mutants::read_all(&root).expect("the lists of mutants");
    assert!(mutants.len() > 100, "{} mutants were found", mutants.len());
    let stale: Vec<String> = mutants
        .iter()
        .filter_map(|mutant| match fs::read_to_string(root.join(&mutant.file)) {
            Ok(text) => mutant.apply(&text).err(),
            Err(error) => Some(format!("mutant `{}`: {}: {error}", mutant.name, mutant.file)),
        })
        .collect();
    assert!(stale.is_empty(), "change the lists in tests/mutants with the code:\n{}", stale.join("\n"));
}

/// A filter that names no test runs none, and every mutant survives it.
#[test]
fn every_mutant_runs_tests_that_are_there() {
    let mutants = mutants::read_all(&workspace_root()).expect("the lists of mutants");
    let rust: Vec<_> = sources("").into_iter().filter(Source::is_rust).collect();
    let mut wrong = Vec::new();
    for mutant in &mutants {
        let after = |flag: &str| mutant.run.iter().skip_while(move |word| *word != flag).nth(1);
        let (package, test) = (after("-p").expect("a package"), after("--test"));
        if test.is_none() && !mutant.file.starts_with(&format!("{package}/")) {
            wrong.push(format!(
                "tests/mutants/{}.txt: mutant `{}`: {package} is not what it changes",
                mutant.list, mutant.name
            ));
        }
        let below = test.map_or_else(|| format!("{package}/src/"), |test| format!("tests/{test}/"));
        let filters =
            mutant.run.iter().filter(|word| !word.starts_with('-') && ![Some(package), test].contains(&Some(*word)));
        for filter in filters {
            let last = filter.trim_end_matches(':').rsplit("::").next().unwrap_or_default();
            let is_named = |source: &Source| {
                // The laws of the suites are tests wherever a suite is run.
                (source.path.starts_with(&below) || source.path.starts_with("cachefront-core/src/testing/"))
                    && (source.path.contains(last) || source.text.lines().any(|line| names_an_item(line, last)))
            };
            if !rust.iter().any(is_named) {
                wrong.push(format!("tests/mutants/{}.txt: mutant `{}`: {filter}", mutant.list, mutant.name));
            }
        }
    }
    none(&wrong, "filters of mutants that name no test");
}

/// Names of tests that programs of the workspace run, and where they are: a filter without a test runs none, and passes.
const RUN_BY_NAME: [(&str, &str, &str); 3] = [
    ("xtask/src/prove.rs", "race_under_failovers", "tests/deployments/"),
    ("xtask/src/prove.rs", "every_answer_is_right_at_its_level", "tests/world/"),
    ("xtask/src/mutants.rs", "every_answer", "tests/world/"),
];

#[test]
fn the_tests_that_xtask_runs_by_name_are_there() {
    let files = sources("");
    let mut wrong = Vec::new();
    for (path, name, below) in RUN_BY_NAME {
        let quoted = format!("\"{name}\"");
        if !files.iter().any(|source| source.path == path && source.text.contains(&quoted)) {
            wrong.push(format!("{path} does not run {name}"));
        }
        let mut below = files.iter().filter(|source| source.path.starts_with(below));
        if !below.any(|source| source.text.lines().any(|line| names_an_item(line, name))) {
            wrong.push(format!("no test is named {name}"));
        }
    }
    none(&wrong, "tests that are run by name");
}

/// True if a line declares a function or module whose name holds `part`.
fn names_an_item(line: &str, part: &str) -> bool {
    ["fn ", "mod "].iter().any(|item| {
        line.split_once(item).is_some_and(|(_, rest)| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().is_some_and(|name| name.contains(part))
        })
    })
}
