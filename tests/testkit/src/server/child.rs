//! A child process that does not outlive its value.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Lines of a log that a failure shows.
const TAIL_LINES: usize = 25;

/// A running program with its log in a file. Dropping the value kills the program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output appended to `<dir>/<name>.log` and its number in `<dir>/pid`.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(name: &str, mut command: Command, dir: &Path) -> io::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let err = out.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?;
        fs::write(dir.join("pid"), child.id().to_string())?;
        Ok(Self { name: name.to_owned(), child, log, status: None })
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// True until the program has ended.
    pub fn is_running(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status.is_none()
    }

    /// How the program ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.is_running();
        self.status
    }

    /// Sends a signal; nothing happens if the program has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            // The child is not reaped yet, so its number is still its own; a failure means that it is ending.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Stops the program's clock (`SIGSTOP`): it does not react, and its connections stay open.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen program go on.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Kills the program at once (`kill -9`) and waits until it is gone.
    pub fn kill(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }

    /// Asks the program to end (`SIGTERM`) and waits until it has.
    ///
    /// # Panics
    /// If it has not ended after `timeout`.
    pub async fn stop(&mut self, timeout: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let what = format!("{} has ended", self.name);
        wait::until_some(&what, timeout, async || self.exit_status()).await
    }

    /// Everything that the program has printed.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of the log, for a message.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the last lines of {}:\n{}\n---", self.name, self.log_tail());
        }
    }
}
