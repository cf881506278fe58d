//! The list of mutants fits the code of today.

use std::fs;

use cachefront_stack::mutants;
use cachefront_testkit::stack::workspace_root;

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
