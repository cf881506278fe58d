//! A MySQL of one test's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub use cachefront_stack::mysql::{ADMIN, ADMIN_PASSWORD};
use cachefront_stack::mysql::{arguments, copy_data};
use mysql_async::{Conn, prelude::Queryable};

use super::private::{Private, Spec};
use super::sql::{data_of, owned, purge_binlogs, rotate_binlog, try_connect};
use crate::{port, stack};

/// True if the server with the data directory `data` takes connections on `port`: another program may have taken the port
/// in between, and a server of its own may listen there.
async fn serves(port: u16, data: &Path) -> bool {
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

/// Arguments of a server that survives a kill without losing a commit, as most production servers run.
pub const DURABLE: [&str; 2] = ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];

/// To be run before each commit on a server of [`MySql::start_semisync`], which stops waiting for replicas after the first
/// timeout.
pub const SEMISYNC_AGAIN: [&str; 2] =
    ["SET GLOBAL rpl_semi_sync_source_enabled = OFF", "SET GLOBAL rpl_semi_sync_source_enabled = ON"];

/// How a private MySQL is started.
#[derive(Debug)]
pub struct MySqlSpec {
    port: u16,
    extra: Vec<String>,
}

impl Spec for MySqlSpec {
    const NAME: &'static str = "mysql";
    const START: Duration = Duration::from_secs(60);
    /// One with a connected reader of the binary log takes about ten seconds.
    const STOP: Duration = Duration::from_secs(40);

    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(stack::mysqld());
        command.args(arguments(&data_of(dir), self.port)).args(&self.extra);
        command
    }

    async fn is_ready(&self, dir: &Path, _pid: u32) -> bool {
        serves(self.port, &data_of(dir)).await
    }
}

/// A private MySQL: killed, restarted, and purged at will.
pub type MySql = Private<MySqlSpec>;

impl MySql {
    /// Starts a server with an empty binary log and further arguments, as in `["--binlog-row-image=MINIMAL"]`. About
    /// one second.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub async fn start(extra: &[&str]) -> Self {
        Self::launch(|dir| {
            copy_data(&stack::mysql_template(), &data_of(dir)).expect("the data directory can be copied");
            MySqlSpec { port: port::free(), extra: owned(extra) }
        })
        .await
    }

    /// Starts a server that compares names of tables without regard to case (`lower_case_table_names=1`), which a data
    /// directory decides when it is made. About three seconds.
    ///
    /// # Panics
    /// As [`MySql::start`].
    pub async fn start_folding() -> Self {
        const FOLDING: &str = "--lower-case-table-names=1";
        Self::launch(|dir| {
            let users = dir.join("users.sql");
            let sql = format!(
                "CREATE USER '{ADMIN}'@'%' IDENTIFIED BY '{ADMIN_PASSWORD}';\nGRANT ALL ON *.* TO '{ADMIN}'@'%' WITH GRANT OPTION;\n"
            );
            std::fs::write(&users, sql).expect("the users can be written");
            let made = Command::new(stack::mysqld())
                .args(["--initialize-insecure", "--secure-file-priv=NULL", FOLDING])
                .arg(format!("--datadir={}", data_of(dir).display()))
                .arg(format!("--init-file={}", users.display()))
                .output()
                .expect("mysqld can be run");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            MySqlSpec { port: port::free(), extra: owned(&[FOLDING]) }
        })
        .await
    }

    /// Starts a durable server with semi-synchronous replication and no replica: each commit is in the log for three
    /// seconds before other sessions see it, if [`SEMISYNC_AGAIN`] was run before.
    ///
    /// # Panics
    /// As [`MySql::start`], or if the server has no such plug-in.
    pub async fn start_semisync() -> Self {
        let mysql = Self::start(&DURABLE).await;
        mysql.execute("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'").await;
        mysql.execute("SET GLOBAL rpl_semi_sync_source_timeout = 3000").await;
        mysql.execute("SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'").await;
        mysql
    }

    /// URL of a user who may do everything, without a database.
    pub fn url(&self) -> String {
        self.url_of(ADMIN, ADMIN_PASSWORD)
    }

    /// URL of another user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}", self.spec.port)
    }

    /// URL of the user who may do everything, with a database.
    pub fn url_of_database(&self, database: &str) -> String {
        format!("{}/{database}", self.url())
    }

    /// The port, the same over restarts.
    pub fn port(&self) -> u16 {
        self.spec.port
    }

    /// The data directory: binary logs, and the certificates that the server made (`ca.pem`).
    pub fn data_dir(&self) -> PathBuf {
        data_of(self.dir())
    }

    /// A connection of the user who may do everything.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn connect(&self) -> Conn {
        try_connect(self.spec.port).await.unwrap_or_else(|err| panic!("the private MySQL does not respond: {err}"))
    }

    /// Runs one statement as the user who may do everything.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn execute(&self, sql: &str) {
        let mut conn = self.connect().await;
        conn.query_drop(sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
        conn.disconnect().await.expect("the connection closes without an error");
    }

    /// Begins a new binary log and removes all older ones: who has not read them has lost them.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn purge_binlogs(&self) {
        let mut conn = self.connect().await;
        let newest = rotate_binlog(&mut conn).await;
        purge_binlogs(&mut conn, &newest).await;
        conn.disconnect().await.expect("the connection closes without an error");
    }

    /// Starts the server again on the same data and port, with `extra` in place of the further arguments it had.
    ///
    /// # Panics
    /// If it does not respond in time.
    pub async fn restart_with(&mut self, extra: &[&str]) {
        self.spec.extra = owned(extra);
        self.restart().await;
    }
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
