//! `cargo xtask test`: all tests of all crates over real servers, which come up before and go down after.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use cachefront_stack::environment as names;
use cachefront_stack::processes::{self, Process};
use clap::Args;

use crate::{
    exec::{self, Running},
    failure::{Context, Failure, Result},
    stack, tools,
};

/// The poll interval.
const PAUSE: Duration = Duration::from_millis(200);

/// How long processes of tests that have ended may take to end.
const END: Duration = Duration::from_secs(10);

/// The least number of the guide's programs that a run of all tests compiles. They need features that only the workspace as a whole
/// turns on, and without these they would be left out unseen.
const OF_GUIDE_MIN: u64 = 25;

/// The variable that marks all processes of one run.
const RUN: &str = "XTASK_RUN";

/// Which tests to run. Default: all.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this package (may be repeated).
    #[arg(long, short)]
    package: Vec<String>,
    /// Only this test binary (may be repeated).
    #[arg(long)]
    test: Vec<String>,
    /// Minutes after which the tests are ended and count as failed.
    #[arg(long, default_value_t = 45)]
    timeout: u64,
    /// Handed to the test programs: name filters, `--nocapture`.
    #[arg(last = true)]
    filters: Vec<String>,
}

impl Options {
    /// True if no test is left out.
    fn is_all(&self) -> bool {
        self.package.is_empty() && self.test.is_empty() && self.filters.is_empty()
    }
}

/// Runs the tests and prints `N passed, M failed` as the last line.
pub(crate) fn run(options: &Options) -> Result<()> {
    let up = stack::up()?;
    let simulator = build_examples()?;
    let mut command = cargo(options);
    command.envs(&up.state.environment).env(names::SIMULATOR, &simulator).envs(tools::for_tests());
    let outcome = supervise(&mut command, Duration::from_secs(options.timeout * 60), END);
    drop(up);
    exec::check_interrupted()?;
    let mut outcome = outcome?;
    if options.is_all() {
        outcome.demand_guide();
    }
    outcome.report()
}

/// Programs of the examples that tests run.
const PROGRAMS: [&str; 11] = [
    "simulator",
    "binlog_dump",
    "debezium_decode",
    "quickstart",
    "warm_up",
    "redis_binlog",
    "redis_kafka",
    "axum_service",
    "lists_and_tags",
    "read_your_writes",
    "sqlx_loader",
];

/// Builds the examples as they are shipped, without the features that only tests turn on, and keeps copies: the tests'
/// own build puts others in their place. Returns the simulator's.
pub(crate) fn build_examples() -> Result<PathBuf> {
    let mut command = exec::cargo();
    command.args(["build", "--quiet", "--package", "examples", "--package", "sqlx-loader"]);
    command.args(PROGRAMS.iter().flat_map(|name| ["--example", name]));
    if !exec::run(&mut command)?.success() {
        return Err(Failure::new("the examples do not build"));
    }
    let bin = names::dir().join("bin");
    fs::create_dir_all(&bin).context(|| format!("could not make {}", bin.display()))?;
    let bin = bin.canonicalize()?;
    for name in PROGRAMS {
        let built = names::target_dir().join("debug/examples").join(name);
        // A copy of an earlier run may still be running: its file is replaced, not written into.
        let _ = fs::remove_file(bin.join(name));
        fs::copy(&built, bin.join(name)).context(|| format!("could not copy {}", built.display()))?;
    }
    Ok(bin.join("simulator"))
}

fn cargo(options: &Options) -> Command {
    let mut command = exec::cargo();
    command.args(["test", "--no-fail-fast"]);
    if options.package.is_empty() {
        command.arg("--workspace");
    }
    for package in &options.package {
        command.args(["--package", package]);
    }
    for test in &options.test {
        command.args(["--test", test]);
    }
    command.arg("--").args(&options.filters);
    command
}

/// What came of the tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Programs of the guide that were compiled.
    of_guide: u64,
    /// Why the run as a whole failed, apart from single tests.
    trouble: Option<String>,
}

impl Outcome {
    /// Adds the numbers of one program's closing line, and notes the guide's programs.
    fn count(&mut self, line: &str) {
        self.of_guide += u64::from(line.starts_with("test ") && line.contains(" - guide (line "));
        let Some(numbers) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        for part in numbers.1.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// A program that did not build, crashed or hung leaves no closing line: it counts as one failure.
    fn end(&mut self, status: Option<ExitStatus>) {
        let trouble = match status {
            None => Some("the tests took too long and were ended".to_owned()),
            Some(status) if !status.success() && self.failed == 0 => {
                Some(format!("cargo test failed ({status}): a test did not build, or its program crashed"))
            }
            Some(_) if self.passed + self.failed == 0 => Some("no test ran".to_owned()),
            Some(_) => None,
        };
        if trouble.is_some() {
            self.failed += 1;
            self.trouble = trouble;
        }
    }

    /// A run of all tests in which the guide's programs were not compiled has failed.
    fn demand_guide(&mut self) {
        if self.trouble.is_none() && self.of_guide < OF_GUIDE_MIN {
            self.failed += 1;
            self.trouble = Some(format!("{} programs of docs/guide.md were compiled: see src/lib.rs", self.of_guide));
        }
    }

    /// Tests that leave processes running are wrong, even if all of them passed.
    fn leave(&mut self, processes: &[Process]) {
        if processes.is_empty() {
            return;
        }
        self.failed += 1;
        let names: String = processes.iter().map(|process| format!("\n  {} {}", process.id, process.command)).collect();
        let what = format!("the tests left {} processes running, which are killed now:{names}", processes.len());
        self.trouble = Some(self.trouble.take().map_or(what.clone(), |trouble| format!("{trouble}\n{what}")));
    }

    #[expect(clippy::print_stdout, reason = "this is what the command was called for")]
    fn report(self) -> Result<()> {
        if let Some(trouble) = &self.trouble {
            eprintln!("xtask: {trouble}");
        }
        let skipped = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        println!("{} passed, {} failed{skipped}", self.passed, self.failed);
        if self.failed == 0 { Ok(()) } else { Err(Failure::silent()) }
    }
}

/// Runs `command` for at most `timeout`, passes its output on and counts. What it has started has `grace` to end after it.
fn supervise(command: &mut Command, timeout: Duration, grace: Duration) -> Result<Outcome> {
    let deadline = Instant::now() + timeout;
    // All that is started from here on inherits this; only the name must not begin like our settings, which the tests
    // take out of the environment of what they start.
    let run = format!("{:016x}", getrandom::u64().context(|| "the system has no randomness".to_owned())?);
    command.env(RUN, &run);
    let mut running = exec::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let lines = read_lines(running.child.stdout.take());
    let mut outcome = Outcome::default();
    let status = pass_on(&lines, &mut running, deadline, &mut outcome)?;
    // A run that was cut short could not clean up after itself.
    let left = if status.is_some() { left_running(&run, grace) } else { Vec::new() };
    // What a test has left behind must not keep the pipe open.
    running.kill_group();
    let stubborn = processes::kill_all(|| processes::marked(RUN, &run), END);
    while let Ok(line) = lines.recv_timeout(PAUSE) {
        echo(&line, &mut outcome);
    }
    outcome.end(status);
    outcome.leave(&left);
    outcome.leave(&stubborn);
    Ok(outcome)
}

/// The processes of a run that has ended, once those that are ending have had their time.
fn left_running(run: &str, grace: Duration) -> Vec<Process> {
    let deadline = Instant::now() + grace;
    loop {
        let left = processes::marked(RUN, run);
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        // sleep: the pause of a bounded wait.
        thread::sleep(PAUSE);
    }
}

/// Passes lines on until the command has ended. `None`: it took too long.
fn pass_on(
    lines: &Receiver<Vec<u8>>,
    running: &mut Running,
    deadline: Instant,
    outcome: &mut Outcome,
) -> Result<Option<ExitStatus>> {
    loop {
        match lines.recv_timeout(PAUSE) {
            Ok(line) => echo(&line, outcome),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = running.child.try_wait()? {
                    return Ok(Some(status));
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(Some(running.child.wait()?)),
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
    }
}

fn echo(line: &[u8], outcome: &mut Outcome) {
    outcome.count(String::from_utf8_lossy(line).trim_end());
    let mut stdout = std::io::stdout().lock();
    // A reader that has gone does not end the tests.
    let _ = stdout.write_all(line).and_then(|()| stdout.flush());
}

fn read_lines(pipe: Option<ChildStdout>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        let mut pipe = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            match pipe.read_until(b'\n', &mut line) {
                Ok(read) if read > 0 && sender.send(line).is_ok() => {}
                _ => return,
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn counted(lines: &[&str], status: Option<i32>) -> Outcome {
        let mut outcome = Outcome::default();
        for line in lines {
            outcome.count(line);
        }
        outcome.end(status.map(|code| ExitStatus::from_raw(code << 8)));
        outcome
    }

    #[test]
    fn adds_up_all_programs() {
        let outcome = counted(
            &[
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
                "test named test result ... ok",
                "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.02s",
            ],
            Some(101),
        );
        assert_eq!(outcome, Outcome { passed: 10, failed: 2, skipped: 1, of_guide: 0, trouble: None });
    }

    #[test]
    fn a_run_of_all_tests_without_the_guides_programs_fails() {
        let line = "test src/lib.rs - guide (line 75) - compile ... ok";
        let end = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        for (compiled, failed) in [(0, 1), (24, 1), (25, 0)] {
            let mut lines = vec![line; compiled];
            lines.push(end);
            let mut outcome = counted(&lines, Some(0));
            outcome.demand_guide();
            assert_eq!((outcome.failed, outcome.trouble.is_some()), (failed, failed == 1), "{outcome:?}");
        }
    }

    #[test]
    fn a_run_that_leaves_a_process_fails_and_kills_it() {
        let mut command = Command::new("sh");
        // In a session of its own, so that it is not in the process group that is killed in any case; the outer shell
        // waits until the inner one has closed the pipe.
        command.args(["-c", "_=$(setsid sh -c 'exec sleep 601 >&- 2>&-' &)"]);
        let outcome = supervise(&mut command, Duration::from_secs(60), Duration::from_millis(100)).expect("a run");
        assert!(outcome.trouble.as_ref().is_some_and(|trouble| trouble.contains("sleep 601")), "{outcome:?}");
        assert!(!processes::all().iter().any(|process| process.command.contains("sleep 601")));
    }

    #[test]
    fn a_run_without_tests_a_crash_and_a_hang_are_failures() {
        let line = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        for (lines, status) in [(&[][..], Some(0)), (&[line][..], Some(101)), (&[line][..], None)] {
            let outcome = counted(lines, status);
            assert_eq!(outcome.failed, 1, "{outcome:?}");
            assert!(outcome.trouble.is_some());
        }
    }
}
