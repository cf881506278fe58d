//! A Redis of one test's own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use cachefront_stack::redis::arguments;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::private::{Private, Spec};
use crate::{port, stack, unique};

/// Name of the file in which Redis keeps its data over a restart.
const DUMP: &str = "dump.rdb";

/// How a private Redis is started.
#[derive(Debug)]
pub struct RedisSpec {
    program: PathBuf,
    port: u16,
    extra: Vec<String>,
}

impl Spec for RedisSpec {
    const NAME: &'static str = "redis";
    const START: Duration = Duration::from_secs(20);
    const STOP: Duration = Duration::from_secs(20);

    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments(dir, self.port)).args(&self.extra);
        command
    }

    /// Another program may have taken the port in between, and a Redis of its own may listen there.
    async fn is_ready(&self, _dir: &Path, pid: u32) -> bool {
        let reply = raw_command(self.port, "INFO server").await.unwrap_or_default();
        reply.contains(&format!("process_id:{pid}\r\n")) || reply.starts_with("-NOAUTH")
    }

    fn before_restart(&self, dir: &Path) {
        let _ = fs::remove_file(dir.join(DUMP));
    }
}

/// A private Redis: killed, restarted, and restored at will. What it held is lost when it is killed, and
/// [`Private::restart`] starts it empty.
pub type Redis = Private<RedisSpec>;

/// The port of a cluster's node for other nodes is this much above its port for clients.
pub(super) const BUS_PORT_OFFSET: u16 = 10_000;

impl Redis {
    /// Starts an empty server.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts an empty server with further arguments, as in `["--maxmemory", "10mb"]`.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub async fn start_with(extra: &[&str]) -> Self {
        Self::start_of(stack::redis_server(), extra).await
    }

    /// Starts an empty Valkey.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub async fn start_valkey() -> Self {
        Self::start_of(stack::valkey_server(), &[]).await
    }

    async fn start_of(program: PathBuf, extra: &[&str]) -> Self {
        let in_cluster = extra.contains(&"--cluster-enabled");
        Self::launch(|_| RedisSpec {
            program: program.clone(),
            port: if in_cluster { port::free_with(BUS_PORT_OFFSET) } else { port::free() },
            extra: extra.iter().map(|argument| (*argument).to_owned()).collect(),
        })
        .await
    }

    /// URL: `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.spec.port)
    }

    /// The port, the same over restarts.
    pub fn port(&self) -> u16 {
        self.spec.port
    }

    /// Starts the server again on the same port with the data of `rdb`, a file of [`Redis::save_rdb`]. Kills it
    /// first if it runs.
    ///
    /// # Panics
    /// If the file cannot be copied, or the server does not respond in time.
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
        let reply = self.command("SAVE").await.expect("the private Redis replies");
        assert!(reply.starts_with("+OK"), "the reply to SAVE is {reply:?}");
        let kept = self.dir.path().join(unique::name("saved"));
        fs::rename(self.dir.path().join(DUMP), &kept).expect("the saved data can be renamed");
        kept
    }

    /// Makes the server full: it refuses every command that may need memory, and by default evicts nothing.
    ///
    /// # Panics
    /// If it refuses the setting.
    pub async fn fill_up(&self) {
        let reply = self.command("CONFIG SET maxmemory 1").await.expect("a reply");
        assert!(reply.starts_with("+OK"), "{reply}");
    }

    /// Sends one inline command on a connection of its own and returns the first part of the raw reply.
    ///
    /// # Errors
    /// If the server does not reply.
    pub async fn command(&self, line: &str) -> io::Result<String> {
        raw_command(self.spec.port, line).await
    }
}

pub(super) async fn raw_command(port: u16, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    let mut reply = vec![0; 64 * 1024];
    let read = stream.read(&mut reply).await?;
    Ok(String::from_utf8_lossy(&reply[..read]).into_owned())
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
