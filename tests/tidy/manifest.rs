//! What the crates are made of.

use std::{env, fs, process::Command};

use cachefront_testkit::stack::workspace_root;

use crate::tree::none;

#[test]
fn default_members_are_the_facade_and_the_examples() {
    // With `tests` among them, features that only tests want would be built into the simulator.
    let manifest = fs::read_to_string(workspace_root().join("Cargo.toml")).expect("the workspace has a manifest");
    assert!(
        manifest.contains("\ndefault-members = [\".\", \"examples\"]\n"),
        "default-members of Cargo.toml must be exactly [\".\", \"examples\"]"
    );
}

#[test]
fn the_shipped_simulator_has_no_test_features() {
    // The very selection of packages that `cargo run --example simulator` makes at the root.
    let tree = cargo_tree(&["--edges", "normal,build,features", "--prefix", "none"]);
    assert!(tree.contains("cachefront-core feature \"default\"") || tree.contains("cachefront-core v"), "{tree}");
    let wrong: Vec<String> = tree
        .lines()
        .filter(|line| line.starts_with("cachefront") && line.contains("feature \"testing\""))
        .map(str::to_owned)
        .collect();
    none(&wrong, "the feature `testing` is built into the simulator");
}

#[test]
fn the_guard_would_notice_a_test_feature() {
    let tree = cargo_tree(&["--workspace", "--edges", "normal,features", "--prefix", "none"]);
    assert!(
        tree.lines().any(|line| line.starts_with("cachefront-core feature \"testing\"")),
        "`cargo tree` does not name the feature where it is on: the test above proves nothing"
    );
}

#[test]
fn core_depends_on_no_driver() {
    let tree = cargo_tree(&["--package", "cachefront-core", "--edges", "normal,build", "--prefix", "none"]);
    let drivers = ["redis ", "mysql_async ", "mysql_cdc ", "rdkafka ", "rdkafka-sys ", "openssl ", "rustls "];
    let wrong: Vec<String> =
        tree.lines().filter(|line| drivers.iter().any(|driver| line.starts_with(driver))).map(str::to_owned).collect();
    none(&wrong, "core depends on a driver");
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let manifests = crate::tree::sources("");
    let manifests = manifests.iter().filter(|source| source.path.ends_with("Cargo.toml"));
    let wrong: Vec<String> = manifests
        .filter(|source| !source.text.contains("[lints]\nworkspace = true"))
        .map(|source| source.path.clone())
        .collect();
    none(&wrong, "manifests without `[lints] workspace = true`");
}

/// Dependencies of the workspace that no crate uses, and why they are listed.
const UNUSED: [(&str, &str); 0] = [];

#[test]
fn every_dependency_of_the_workspace_is_used() {
    let root = fs::read_to_string(workspace_root().join("Cargo.toml")).expect("the workspace has a manifest");
    let (_, rest) = root.split_once("[workspace.dependencies]\n").expect("a list of dependencies");
    let listed =
        rest.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| Some(line.split_once(" = ")?.0));
    let manifests: Vec<String> = crate::tree::sources("")
        .into_iter()
        .filter(|file| file.path.ends_with("Cargo.toml"))
        .map(|file| file.text)
        .collect();
    let is_used = |name: &str| {
        let names = [format!("\n{name}.workspace = true"), format!("\n{name} = {{ workspace = true")];
        manifests.iter().any(|text| names.iter().any(|name| text.contains(name)))
    };
    let wrong: Vec<String> = listed
        .filter(|name| !is_used(name) && !UNUSED.iter().any(|(unused, _)| unused == name))
        .map(str::to_owned)
        .collect();
    none(&wrong, "dependencies of the workspace that no crate uses");
}

fn cargo_tree(arguments: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace_root())
        .args(["tree", "--offline", "--locked"])
        .args(arguments)
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
