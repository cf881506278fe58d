//! A MySQL of one test's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub use cachefront_stack::mysql::{ADMIN, ADMIN_PASSWORD};
use cachefront_stack::mysql::{arguments, copy_data};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Process, temporary_dir};
use crate::{port, stack, wait};

/// How long a start may take.
const START: Duration = Duration::from_secs(60);
/// How long an orderly end may take: one with a connected reader of the binary log takes about ten seconds.
const STOP: Duration = Duration::from_secs(40);
/// How often a start is tried again on another port, should somebody else have taken the port in between.
const PORT_TRIES: usize = 3;

/// True if the server with the data directory `data` answers on `port`: on a port taken by somebody else, another one
/// might.
pub async fn answers(port: u16, data: &Path) -> bool {
    match try_connect(port).await {
        Ok(mut conn) => {
            let found: Option<String> = conn.query_first("SELECT @@datadir").await.ok().flatten();
            found.is_some_and(|found| Path::new(&found) == data)
        }
        // A server that demands TLS refuses us, and is up.
        Err(mysql_async::Error::Server(_)) => true,
        Err(_) => false,
    }
}

/// A private MySQL: killed, restarted, and purged at will.
#[derive(Debug)]
pub struct MySql {
    // First: the program must be gone before its folder is removed.
    process: Process,
    dir: TempDir,
    port: u16,
    extra: Vec<String>,
}

impl MySql {
    /// Starts a server with an empty binary log and further arguments, as in `["--binlog-row-image=MINIMAL"]`. About
    /// one second.
    ///
    /// # Panics
    /// If it does not answer in time; the message holds its log.
    pub async fn start(extra: &[&str]) -> Self {
        let extra = owned(extra);
        let mut last = String::new();
        for _ in 0..PORT_TRIES {
            let dir = temporary_dir("mysql");
            copy_data(&stack::mysql_template(), &data_of(&dir)).expect("the data directory can be copied");
            let port = port::free();
            let mut mysql = Self { process: spawn(&dir, port, &extra), dir, port, extra: extra.clone() };
            match mysql.wait_until_ready().await {
                Ok(()) => return mysql,
                Err(log) => last = log,
            }
        }
        panic!("the private MySQL did not start:\n{last}");
    }

    /// URL of a user who may do everything, without a database.
    pub fn url(&self) -> String {
        self.url_of(ADMIN, ADMIN_PASSWORD)
    }

    /// URL of another user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// URL of the user who may do everything, with a database.
    pub fn url_of_database(&self, database: &str) -> String {
        format!("{}/{database}", self.url())
    }

    /// The port, the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The data directory: binary logs, and the certificates that the server made (`ca.pem`).
    pub fn data_dir(&self) -> PathBuf {
        data_of(&self.dir)
    }

    /// A connection of the user who may do everything.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn connect(&self) -> Conn {
        try_connect(self.port).await.unwrap_or_else(|err| panic!("the private MySQL does not answer: {err}"))
    }

    /// Runs one statement as the user who may do everything.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn execute(&self, sql: &str) {
        let mut conn = self.connect().await;
        conn.query_drop(sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
        conn.disconnect().await.expect("the connection ends in peace");
    }

    /// Begins a new binary log and removes all older ones: who has not read them has lost them.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn purge_binlogs(&self) {
        let mut conn = self.connect().await;
        conn.query_drop("FLUSH BINARY LOGS").await.expect("the log can be rotated");
        let logs: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.expect("the logs can be listed");
        let newest: String = logs.last().and_then(|row| row.get(0)).expect("a server has at least one log");
        conn.query_drop(format!("PURGE BINARY LOGS TO '{newest}'")).await.expect("the logs can be purged");
        conn.disconnect().await.expect("the connection ends in peace");
    }

    /// Kills the server (`kill -9`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops the server's clock (`SIGSTOP`): connections stay open, nothing answers, until [`MySql::resume`].
    pub fn freeze(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Ends the server in an orderly way.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn stop(&mut self) {
        self.process.stop(STOP).await;
    }

    /// Starts the server again on the same data and port. Kills it first if it runs.
    ///
    /// # Panics
    /// If it does not answer in time.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.dir, self.port, &self.extra);
        if let Err(log) = self.wait_until_ready().await {
            panic!("the private MySQL did not start again:\n{log}");
        }
    }

    /// Starts the server again on the same data and port, with `extra` in place of the further arguments it had.
    ///
    /// # Panics
    /// If it does not answer in time.
    pub async fn restart_with(&mut self, extra: &[&str]) {
        self.extra = owned(extra);
        self.restart().await;
    }

    /// Everything that the server has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let data = self.data_dir();
        let ready = wait::until_some("the private MySQL answers", START, async || {
            if !self.process.is_running() {
                return Some(false);
            }
            answers(self.port, &data).await.then_some(true)
        });
        if ready.await { Ok(()) } else { Err(self.process.log_tail()) }
    }
}

async fn try_connect(port: u16) -> mysql_async::Result<Conn> {
    let opts = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(ADMIN))
        .pass(Some(ADMIN_PASSWORD))
        .prefer_socket(false);
    Conn::new(opts).await
}

fn spawn(dir: &TempDir, port: u16, extra: &[String]) -> Process {
    let mut command = Command::new(stack::mysqld());
    command.args(arguments(&data_of(dir), port)).args(extra);
    Process::start("mysql", command, dir.path()).expect("mysqld can be started")
}

fn data_of(dir: &TempDir) -> PathBuf {
    dir.path().join("data")
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_its_data_over_a_kill_and_forgets_purged_logs() {
        let mut mysql = MySql::start(&["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]).await;
        mysql.execute("CREATE DATABASE shop").await;
        mysql.kill();
        mysql.restart().await;
        let mut conn = mysql.connect().await;
        let found: Option<String> = conn.query_first("SHOW DATABASES LIKE 'shop'").await.expect("a reply");
        assert_eq!(found.as_deref(), Some("shop"));

        mysql.purge_binlogs().await;
        let purged: Option<String> = conn.query_first("SELECT @@GLOBAL.gtid_purged").await.expect("a reply");
        assert!(purged.is_some_and(|set| set.contains(":1")), "the first transaction is not purged");
    }
}
