//! Child processes that end when this tool is asked to end.
//!
//! Each child leads a process group of its own, with everything that it starts. On `SIGINT`, `SIGTERM` or `SIGHUP` the
//! groups are asked to end; the command that waited for them then fails in the ordinary way and cleans up.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use cachefront_stack::environment::workspace_root;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Context, Failure, Result};

/// How long children have between `SIGTERM` and `SIGKILL`.
const GRACE: Duration = Duration::from_secs(10);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// True once a signal has asked this tool to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Fails once a signal has asked this tool to end.
pub(crate) fn check_interrupted() -> Result<()> {
    if interrupted() { Err(Failure::new("interrupted")) } else { Ok(()) }
}

/// A runtime for the few things that this tool does over a network.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

/// Watches for signals in a thread of its own.
pub(crate) fn stop_children_on_signals() {
    thread::spawn(|| {
        block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let mut signals = kinds.into_iter().filter_map(|kind| signal(kind).ok());
            let (Some(mut int), Some(mut term), Some(mut hup)) = (signals.next(), signals.next(), signals.next())
            else {
                return;
            };
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
            INTERRUPTED.store(true, Ordering::Relaxed);
            signal_groups(Signal::TERM);
            // sleep: the time that children have to end in an orderly way.
            tokio::time::sleep(GRACE).await;
            signal_groups(Signal::KILL);
        })
    });
}

/// The cargo that runs this tool, at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root());
    // What the outer `cargo run` tells about this package: build scripts that watch these names would run again, and
    // with them half of all dependencies would be built again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Starts a child as the leader of a process group that a signal to this tool ends.
pub(crate) fn start(command: &mut Command) -> Result<Running> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut groups = GROUPS.lock().expect("no holder of this lock panics");
    check_interrupted()?;
    let child = command.process_group(0).spawn().context(|| format!("could not start {program}"))?;
    let group = Pid::from_child(&child);
    groups.push(group);
    Ok(Running { child, group })
}

/// Runs a command to its end, with its output where this tool's goes.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    let mut running = start(command.stdin(Stdio::null()))?;
    let status = running.child.wait()?;
    check_interrupted()?;
    Ok(status)
}

/// Runs a command to its end and takes its output.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let running = start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let output = running.wait_with_output()?;
    check_interrupted()?;
    Ok(output)
}

/// Runs a command that must succeed, and returns what it printed.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{program} failed ({}):\n{}", output.status, last_lines(&said, 8))))
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A child and its process group. When the value is dropped, whatever is left of the group is killed.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    group: Pid,
}

impl Running {
    /// Kills the child and all that it started.
    pub(crate) fn kill_group(&self) {
        let _ = kill_process_group(self.group, Signal::KILL);
    }

    fn wait_with_output(mut self) -> Result<Output> {
        let stdout = drain(self.child.stdout.take());
        let stderr = drain(self.child.stderr.take());
        let status = self.child.wait()?;
        Ok(Output { status, stdout: joined(stdout), stderr: joined(stderr) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut groups = GROUPS.lock().expect("no holder of this lock panics");
        groups.retain(|group| *group != self.group);
        self.kill_group();
        let _ = self.child.wait();
    }
}

fn drain<R: std::io::Read + Send + 'static>(pipe: Option<R>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn joined(reader: thread::JoinHandle<Vec<u8>>) -> Vec<u8> {
    reader.join().unwrap_or_default()
}

fn signal_groups(signal: Signal) {
    for group in GROUPS.lock().expect("no holder of this lock panics").iter() {
        let _ = kill_process_group(*group, signal);
    }
}
