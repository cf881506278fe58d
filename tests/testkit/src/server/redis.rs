//! A Redis of one test's own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use cachefront_stack::redis::arguments;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Process, temporary_dir};
use crate::{port, stack, unique, wait};

/// How long a start may take.
const START: Duration = Duration::from_secs(20);
/// How often a start is tried again on another port, should somebody else have taken the port in between.
const PORT_TRIES: usize = 3;
/// Name of the file in which Redis keeps its data over a restart.
const DUMP: &str = "dump.rdb";

/// True if the process `pid` answers as Redis on `port`: on a port taken by somebody else, another one might.
pub async fn answers(port: u16, pid: u32) -> bool {
    let reply = command(port, "INFO server").await.unwrap_or_default();
    reply.contains(&format!("process_id:{pid}\r\n")) || reply.starts_with("-NOAUTH")
}

/// A private Redis: killed, restarted, and restored at will.
#[derive(Debug)]
pub struct Redis {
    // First: the program must be gone before its folder is removed.
    process: Process,
    dir: TempDir,
    port: u16,
    extra: Vec<String>,
}

impl Redis {
    /// Starts an empty server.
    ///
    /// # Panics
    /// If it does not answer in time; the message holds its log.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts an empty server with further arguments, as in `["--maxmemory", "10mb"]`.
    ///
    /// # Panics
    /// If it does not answer in time; the message holds its log.
    pub async fn start_with(extra: &[&str]) -> Self {
        let extra: Vec<String> = extra.iter().map(|arg| (*arg).to_owned()).collect();
        let mut last = String::new();
        for _ in 0..PORT_TRIES {
            let dir = temporary_dir("redis");
            let port = port::free();
            let mut redis = Self { process: spawn(dir.path(), port, &extra), dir, port, extra: extra.clone() };
            match redis.wait_until_ready().await {
                Ok(()) => return redis,
                Err(log) => last = log,
            }
        }
        panic!("the private Redis did not start:\n{last}");
    }

    /// URL: `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port, the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Folder of the server's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Kills the server (`kill -9`): what it held is lost.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops the server's clock (`SIGSTOP`): connections stay open, nothing answers, until [`Redis::resume`].
    pub fn freeze(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Starts the server again on the same port, empty. Kills it first if it runs.
    ///
    /// # Panics
    /// If it does not answer in time.
    pub async fn restart(&mut self) {
        self.kill();
        let _ = fs::remove_file(self.dir.path().join(DUMP));
        self.start_again().await;
    }

    /// Starts the server again on the same port with the data of `rdb`, a file of [`Redis::save_rdb`]. Kills it
    /// first if it runs.
    ///
    /// # Panics
    /// If the file cannot be copied, or the server does not answer in time.
    pub async fn restart_from(&mut self, rdb: &Path) {
        self.kill();
        fs::copy(rdb, self.dir.path().join(DUMP)).expect("the saved data can be copied");
        self.start_again().await;
    }

    /// Saves what the server holds now, and returns a file that later saves leave alone.
    ///
    /// # Panics
    /// If the server does not save.
    pub async fn save_rdb(&self) -> PathBuf {
        let reply = self.command("SAVE").await.expect("the private Redis answers");
        assert!(reply.starts_with("+OK"), "SAVE answered {reply:?}");
        let kept = self.dir.path().join(unique::name("saved"));
        fs::rename(self.dir.path().join(DUMP), &kept).expect("the saved data can be renamed");
        kept
    }

    /// Sends one inline command on a connection of its own and returns the first part of the raw reply.
    ///
    /// # Errors
    /// If the server does not reply.
    pub async fn command(&self, line: &str) -> io::Result<String> {
        command(self.port, line).await
    }

    /// Everything that the server has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    async fn start_again(&mut self) {
        self.process = spawn(self.dir.path(), self.port, &self.extra);
        if let Err(log) = self.wait_until_ready().await {
            panic!("the private Redis did not start again:\n{log}");
        }
    }

    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let ready = wait::until_some("the private Redis answers", START, async || {
            if !self.process.is_running() {
                return Some(false);
            }
            answers(self.port, self.process.id()).await.then_some(true)
        });
        if ready.await { Ok(()) } else { Err(self.process.log_tail()) }
    }
}

async fn command(port: u16, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    let mut reply = vec![0; 64 * 1024];
    let read = stream.read(&mut reply).await?;
    Ok(String::from_utf8_lossy(&reply[..read]).into_owned())
}

fn spawn(dir: &Path, port: u16, extra: &[String]) -> Process {
    let mut command = Command::new(stack::redis_server());
    command.args(arguments(dir, port)).args(extra);
    Process::start("redis", command, dir).expect("redis-server can be started")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loses_all_on_a_kill_and_comes_back_with_what_was_saved() {
        let mut redis = Redis::start().await;
        redis.command("SET a 1").await.expect("a reply");
        let saved = redis.save_rdb().await;
        redis.command("SET a 2").await.expect("a reply");

        redis.restart_from(&saved).await;
        assert_eq!(redis.command("GET a").await.expect("a reply"), "$1\r\n1\r\n");

        redis.restart().await;
        assert_eq!(redis.command("GET a").await.expect("a reply"), "$-1\r\n");
    }
}
