//! A server of one test's own, whatever it serves: it is started, killed, frozen and restarted in one way.

use std::{fmt, path::Path, process::Command, time::Duration};

use tempfile::TempDir;

use super::{child::Process, folder::temporary_dir};
use crate::wait;

/// How often a start is tried again on another port, in case another program has taken the port in between.
const PORT_TRIES: usize = 3;

/// One kind of server: how it is started, and how one sees that it serves.
pub trait Spec: fmt::Debug + Send + Sync + Sized {
    /// Its name in messages, and of its folder and log.
    const NAME: &'static str;
    /// How long a start may take.
    const START: Duration;
    /// How long an orderly end may take.
    const STOP: Duration;

    /// The program that serves what is in `dir`.
    fn command(&self, dir: &Path) -> Command;

    /// True if the server with this process number takes requests.
    fn is_ready(&self, dir: &Path, pid: u32) -> impl Future<Output = bool> + Send;

    /// Removes what must not survive a restart; everything else does.
    fn before_restart(&self, _dir: &Path) {}
}

/// A server that a test may kill, freeze and restart. It keeps its port and its folder; dropping the value kills it.
#[derive(Debug)]
pub struct Private<S> {
    // First: the program must be gone before its folder is removed.
    pub(super) process: Process,
    pub(super) dir: TempDir,
    pub(super) spec: S,
}

impl<S: Spec> Private<S> {
    /// Starts a server in a fresh folder that `prepare` fills, on ports that `prepare` chooses.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub(super) async fn launch(prepare: impl Fn(&Path) -> S + Send) -> Self {
        let mut last = String::new();
        for _ in 0..PORT_TRIES {
            let dir = temporary_dir(S::NAME);
            let spec = prepare(dir.path());
            let mut server = Self { process: spawn(&spec, dir.path()), dir, spec };
            match server.wait_until_ready().await {
                Ok(()) => return server,
                Err(log) => last = log,
            }
        }
        panic!("the private {} did not start:\n{last}", S::NAME);
    }

    /// Folder of the server's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Kills the server (`kill -9`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops the server's clock (`SIGSTOP`): connections stay open, and no request is served until [`Private::resume`].
    pub fn freeze(&mut self) {
        self.process.freeze();
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) {
        self.process.resume();
    }

    /// Ends the server in an orderly way.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn stop(&mut self) {
        self.process.stop(S::STOP).await;
    }

    /// Starts the server again on the same port, with the data that it keeps over a restart. Kills it first if it runs.
    ///
    /// # Panics
    /// If it does not serve in time.
    pub async fn restart(&mut self) {
        self.kill();
        self.spec.before_restart(self.dir.path());
        self.start_again().await;
    }

    /// Everything that the server has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Starts a server that does not run, with what is in its folder.
    pub(super) async fn start_again(&mut self) {
        self.process = spawn(&self.spec, self.dir.path());
        if let Err(log) = self.wait_until_ready().await {
            panic!("the private {} did not start again:\n{log}", S::NAME);
        }
    }

    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let Self { process, dir, spec } = self;
        let what = format!("the private {} serves", S::NAME);
        let ready = wait::until_some(&what, S::START, async || {
            if !process.is_running() {
                return Some(false);
            }
            spec.is_ready(dir.path(), process.id()).await.then_some(true)
        });
        if ready.await { Ok(()) } else { Err(process.log_tail()) }
    }
}

fn spawn<S: Spec>(spec: &S, dir: &Path) -> Process {
    Process::start(S::NAME, spec.command(dir), dir).unwrap_or_else(|err| panic!("{} cannot be started: {err}", S::NAME))
}
