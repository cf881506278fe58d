//! `cargo xtask mutants`: changes the code in one place after the other and checks that a test fails for each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use cachefront_stack::environment as names;
use cachefront_stack::mutants::{self, Mutant};
use clap::Args;

use crate::{
    exec,
    failure::{Context, Failure, Result},
    stack,
};

/// Tests that run longer than this hang: that is noticed too.
const LIMIT: Duration = Duration::from_secs(600);

/// Which mutants to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only mutants of this list, or whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Run the simulated world in release over each mutant of the core, instead of the tests that its entry names. An
    /// entry with a line `unseen` says why the world does not notice it.
    #[arg(long)]
    world: bool,
}

/// Operations within which the world must find a violation.
const WORLD_OPERATIONS: &str = "1000000";

/// Where it begins.
const WORLD_SEED: &str = "1";

/// The world's only test that judges reads.
const WORLD: [&str; 6] = ["--release", "--package", "cachefront-world", "--test", "world", "every_answer"];

/// What came of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Killed,
    Hangs,
    Survives,
    DoesNotBuild,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Hangs => "killed (hangs)",
            Self::Survives => "SURVIVES",
            Self::DoesNotBuild => "DOES NOT BUILD",
        }
    }
}

/// Runs them all in a copy of the sources, and prints a table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = names::workspace_root();
    let mut chosen: Vec<Mutant> = mutants::read_all(&root)?
        .into_iter()
        .filter(|mutant| options.only.as_ref().is_none_or(|only| mutant.list == *only || mutant.name.contains(only)))
        .filter(|mutant| !options.world || (mutant.list == "core" && mutant.unseen.is_none()))
        .collect();
    if options.world {
        chosen.iter_mut().for_each(|mutant| mutant.run = WORLD.map(str::to_owned).to_vec());
    }
    if chosen.is_empty() {
        return Err(Failure::new("no mutant has such a name"));
    }
    let tree = copy(&root)?;
    let of_servers = |mutant: &Mutant| mutant.run.iter().any(|argument| argument == "cachefront-tests");
    let up = if !options.world && chosen.iter().any(of_servers) { Some(stack::up()?) } else { None };
    let mut environment = up.as_ref().map(|up| up.state.environment.clone()).unwrap_or_default();
    environment.insert("CACHEFRONT_WORLD_OPERATIONS".to_owned(), WORLD_OPERATIONS.to_owned());
    environment.insert("CACHEFRONT_WORLD_SEED".to_owned(), WORLD_SEED.to_owned());
    check_unchanged(&chosen, |run| test(run, &tree, &environment))?;
    let mut failed = 0;
    for mutant in &chosen {
        let began = Instant::now();
        let outcome = try_one(mutant, &tree, &environment)?;
        failed += usize::from(matches!(outcome, Outcome::Survives | Outcome::DoesNotBuild));
        let seconds = began.elapsed().as_secs();
        say(&format!("{:<16} {seconds:>4} s  {}: {}", outcome.word(), mutant.list, mutant.name));
    }
    say(&format!("{} mutants, {} killed", chosen.len(), chosen.len() - failed));
    if failed == 0 { Ok(()) } else { Err(Failure::new(format!("{failed} mutants were not killed"))) }
}

#[expect(clippy::print_stdout, reason = "the table is what the command was called for")]
fn say(line: &str) {
    println!("{line}");
}

/// The tracked and new files of the workspace, copied to where they can be changed.
fn copy(root: &Path) -> Result<PathBuf> {
    let tree = names::target_dir().join("mutants/tree");
    let listed = exec::text(std::process::Command::new("git").current_dir(root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let names: BTreeSet<&str> = listed.lines().filter(|name| root.join(name).is_file()).collect();
    let before = exec::text(std::process::Command::new("find").args([&*tree, Path::new("-type"), Path::new("f")]));
    for gone in before.unwrap_or_default().lines() {
        if Path::new(gone).strip_prefix(&tree).ok().and_then(Path::to_str).is_some_and(|name| !names.contains(name)) {
            fs::remove_file(gone)?;
        }
    }
    for name in names {
        let (from, to) = (root.join(name), tree.join(name));
        fs::create_dir_all(to.parent().unwrap_or(&tree))?;
        // An unchanged file keeps its time, so that only what changed is built again.
        if fs::read(&from)? != fs::read(&to).unwrap_or_default() {
            fs::copy(&from, &to).context(|| format!("could not copy {name}"))?;
        }
    }
    Ok(tree)
}

fn try_one(mutant: &Mutant, tree: &Path, environment: &BTreeMap<String, String>) -> Result<Outcome> {
    let path = tree.join(&mutant.file);
    let before = fs::read_to_string(&path).context(|| format!("could not read {}", mutant.file))?;
    fs::write(&path, mutant.apply(&before).map_err(Failure::new)?)?;
    let outcome = test(&mutant.run, tree, environment);
    fs::write(&path, before)?;
    outcome
}

/// Runs the tests of all mutants on the unchanged sources: one that fails there would kill every mutant.
///
/// # Errors
/// If one does not pass.
fn check_unchanged(chosen: &[Mutant], mut test: impl FnMut(&[String]) -> Result<Outcome>) -> Result<()> {
    let runs: BTreeSet<&[String]> = chosen.iter().map(|mutant| &*mutant.run).collect();
    let mut wrong = Vec::new();
    for run in runs {
        let outcome = test(run)?;
        if outcome != Outcome::Survives {
            wrong.push(format!("  cargo test {}: {outcome:?}", run.join(" ")));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "tests do not pass on the unchanged sources, so they prove nothing:\n{}",
        wrong.join("\n")
    )))
}

/// Runs tests over the sources as they are.
fn test(run: &[String], tree: &Path, environment: &BTreeMap<String, String>) -> Result<Outcome> {
    let cargo = |last: Option<&str>| {
        let mut command = exec::cargo();
        // The last arguments may be the names of tests, after which options of cargo still count.
        command.current_dir(tree).arg("test").arg("--quiet").args(run).args(last);
        command.env("CARGO_TARGET_DIR", names::target_dir().join("mutants/build"));
        // Many short builds: linking across crates would cost more than it saves.
        command.envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_DEBUG", "false")]);
        command.env("CARGO_INCREMENTAL", "1").envs(environment);
        command
    };
    if !exec::output(&mut cargo(Some("--no-run")))?.status.success() {
        return Ok(Outcome::DoesNotBuild);
    }
    let mut running = exec::start(cargo(None).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()))?;
    let deadline = Instant::now() + LIMIT;
    loop {
        exec::check_interrupted()?;
        match running.child.try_wait()? {
            Some(status) if status.success() => return Ok(Outcome::Survives),
            Some(_) => return Ok(Outcome::Killed),
            None if Instant::now() >= deadline => return Ok(Outcome::Hangs),
            // sleep: the poll interval of a bounded wait.
            None => thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_fails_without_the_mutation_kills_nothing() {
        let mutant = |run: &str| Mutant {
            list: "core".to_owned(),
            name: run.to_owned(),
            file: "src/lib.rs".to_owned(),
            run: run.split(' ').map(str::to_owned).collect(),
            unseen: None,
            old: "a".to_owned(),
            new: "b".to_owned(),
        };
        let chosen = ["-p a", "-p b one", "-p a", "-p b two"].map(mutant);
        let mut tried = Vec::new();
        let passes = |run: &[String]| {
            tried.push(run.join(" "));
            Ok(Outcome::Survives)
        };
        check_unchanged(&chosen, passes).expect("all pass");
        assert_eq!(tried, ["-p a", "-p b one", "-p b two"], "each once");
        for outcome in [Outcome::Killed, Outcome::Hangs, Outcome::DoesNotBuild] {
            let fails = |run: &[String]| Ok(if run.len() == 3 { outcome } else { Outcome::Survives });
            let failure = check_unchanged(&chosen, fails).expect_err("two do not pass").to_string();
            assert!(
                failure.contains("-p b one") && failure.contains("-p b two") && !failure.contains("-p a"),
                "{failure}"
            );
        }
    }
}
