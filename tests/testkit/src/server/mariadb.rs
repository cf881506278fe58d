//! A MariaDB of one test's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use cachefront_stack::mysql::{ADMIN, ADMIN_PASSWORD, copy_data};
use mysql_async::{Conn, prelude::Queryable};

use super::private::{Private, Spec};
use super::sql::{data_of, owned, purge_binlogs, rotate_binlog, try_connect};
use crate::shop::PATIENCE;
use crate::{port, stack};

/// A release of MariaDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// That of this machine's Debian: 10.11 on Debian 12.
    Machine,
    /// That of Debian unstable: 11.8 or later.
    New,
}

impl Release {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Machine, Self::New];

    fn program(self) -> PathBuf {
        match self {
            Self::Machine => stack::mariadbd(),
            Self::New => stack::mariadbd_new(),
        }
    }

    fn template(self) -> PathBuf {
        match self {
            Self::Machine => stack::mariadb_template(),
            Self::New => stack::mariadb_new_template(),
        }
    }
}

/// How a private MariaDB is started.
#[derive(Debug)]
pub struct MariaDbSpec {
    release: Release,
    port: u16,
    extra: Vec<String>,
}

impl Spec for MariaDbSpec {
    const NAME: &'static str = "mariadb";
    const START: Duration = Duration::from_secs(60);
    const STOP: Duration = Duration::from_secs(40);

    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(self.release.program());
        let data = data_of(dir);
        command.arg(format!("--datadir={}", data.display())).arg(format!("--port={}", self.port));
        // A server removes the temporary tables of all others in its folder when it starts.
        command.arg(format!("--tmpdir={}", dir.display()));
        // Relative paths are relative to the data directory.
        let fixed = "--socket=mariadbd.sock --pid-file=mariadbd.pid --bind-address=127.0.0.1 --skip-name-resolve \
            --server-id=101 --log-bin=binlog --binlog-format=ROW --binlog-row-image=FULL --binlog-row-metadata=FULL \
            --gtid-strict-mode=ON --log-slave-updates=ON --sync-binlog=0 --innodb-flush-log-at-trx-commit=2 \
            --innodb-buffer-pool-size=64M --max-connections=200 --max-allowed-packet=256M --character-set-server=utf8mb4 \
            --collation-server=utf8mb4_nopad_bin";
        command.args(fixed.split_whitespace()).args(&self.extra);
        command
    }

    async fn is_ready(&self, dir: &Path, _pid: u32) -> bool {
        let Ok(mut conn) = try_connect(self.port).await else { return false };
        let found: Option<String> = conn.query_first("SELECT @@datadir").await.ok().flatten();
        found.is_some_and(|found| Path::new(found.trim_end_matches('/')) == data_of(dir))
    }
}

/// A private MariaDB.
pub type MariaDb = Private<MariaDbSpec>;

impl MariaDb {
    /// Starts a server with an empty binary log and further arguments.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub async fn start(release: Release, extra: &[&str]) -> Self {
        Self::launch(|dir| {
            copy_data(&release.template(), &data_of(dir)).expect("the data directory can be copied");
            MariaDbSpec { release, port: port::free(), extra: owned(extra) }
        })
        .await
    }

    /// URL of a user who may do everything, without a database.
    pub fn url(&self) -> String {
        format!("mysql://{ADMIN}:{ADMIN_PASSWORD}@127.0.0.1:{}", self.spec.port)
    }

    /// The data directory, with the binary logs.
    pub fn data_dir(&self) -> PathBuf {
        data_of(self.dir())
    }

    /// A connection of the user who may do everything.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn connect(&self) -> Conn {
        try_connect(self.spec.port).await.unwrap_or_else(|err| panic!("the private MariaDB refuses: {err}"))
    }

    /// Begins a new binary log and removes all older ones.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn purge_binlogs(&self) {
        let mut conn = self.connect().await;
        let newest = rotate_binlog(&mut conn).await;
        // The storage engine may still need the old ones for a moment.
        let purged = async { while purge_binlogs(&mut conn, &newest).await > 1 {} };
        tokio::time::timeout(PATIENCE, purged).await.expect("the old logs are removed in time");
    }
}
