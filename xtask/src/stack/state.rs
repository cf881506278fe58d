//! What is running, remembered in a file: the processes with the mark by which we know them, and the environment.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Result};

/// How long a server may take to end; MySQL with a connected reader of its log takes about ten seconds.
const STOP: Duration = Duration::from_secs(30);

/// The stack as it was brought up.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Processes that we started.
    pub(super) servers: Vec<Server>,
    /// Brought up to stay, until it is taken down.
    #[serde(default)]
    pub(super) keep: bool,
    /// Compose project that we started.
    pub(super) project: Option<String>,
    /// What tests need in their environment.
    pub(crate) environment: BTreeMap<String, String>,
}

/// One process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) port: u16,
    /// A folder that only this server has in its command line.
    pub(super) mark: PathBuf,
}

impl State {
    pub(super) fn load() -> Result<Option<Self>> {
        let path = path();
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).context(|| format!("could not read {}", path.display()))
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err).context(|| format!("could not read {}", path.display())),
        }
    }

    pub(super) fn save(&self) -> Result<()> {
        let path = path();
        let partial = path.with_extension("partial");
        fs::write(&partial, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&partial, &path).context(|| format!("could not write {}", path.display()))
    }

    pub(super) fn forget() {
        let _ = fs::remove_file(path());
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    pub(super) fn set_path(&mut self, name: &str, path: &Path) {
        self.set(name, path.display().to_string());
    }
}

impl Server {
    /// True if the process lives and is still the one that we started.
    pub(super) fn is_alive(&self) -> bool {
        is_ours(self.pid, &self.mark)
    }

    /// Ends the process, in an orderly way if it can.
    pub(super) fn stop(&self) {
        stop(self.pid, &self.mark);
    }
}

/// Ends the process `pid` if its command line holds `mark`: no process of another program is ever touched.
pub(super) fn stop(pid: u32, mark: &Path) {
    for (signal, patience) in [(Signal::TERM, STOP), (Signal::KILL, Duration::from_secs(5))] {
        if !is_ours(pid, mark) {
            return;
        }
        if let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, signal);
        }
        let deadline = Instant::now() + patience;
        while is_ours(pid, mark) && Instant::now() < deadline {
            // sleep: the poll interval, for a process that is no child of ours; bounded by `deadline`.
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn is_ours(pid: u32, mark: &Path) -> bool {
    // A process that has ended and was not reaped has an empty command line.
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&*mark.to_string_lossy()))
}

fn path() -> PathBuf {
    cachefront_stack::environment::dir().join("state.json")
}
