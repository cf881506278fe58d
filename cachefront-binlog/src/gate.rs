//! The visibility gate: waits until commits can be read on the server that loaders read.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use cachefront_core::gate::VisibilityGate;
use cachefront_core::{Error, ErrorKind, Position, Result};
use tokio::time::Instant;

use crate::config::BinlogSettings;
use crate::conn::{Line, Server, Tls};

/// One wait on the server lasts at most this long, so that a wait that is dropped holds its thread only briefly.
const WAIT_ON_SERVER_MAX: Duration = Duration::from_millis(500);

/// Waits with `WAIT_FOR_EXECUTED_GTID_SET` until commits are visible on the server that loaders read.
///
/// It has a connection of its own, replaced after any failure, and after a wait that was dropped.
///
/// ```no_run
/// # async fn run() -> cachefront_core::Result<()> {
/// let gate = cachefront_binlog::MySqlGate::connect("mysql://app:secret@db.internal/").await?;
/// # let _ = gate;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MySqlGate {
    line: Line,
}

impl MySqlGate {
    /// A gate on the server that loaders read; the user needs no rights at all.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// `Config` if the URL, the user, the password or the certificate is wrong, or the server has no GTIDs;
    /// `Unavailable` or `Timeout` if the server can not be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::checked(Server::new(url, &Tls::default(), &BinlogSettings::default())?).await
    }

    /// The same over TLS, with the certificate checked against the authority in `ca_file`.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`connect`](MySqlGate::connect); `Config` if the file can not be read.
    pub async fn connect_tls(url: &str, ca_file: impl AsRef<Path>) -> Result<Self> {
        let tls = Tls::default().with_ca_file(ca_file.as_ref())?;
        Self::checked(Server::new(url, &tls, &BinlogSettings::default())?).await
    }

    async fn checked(server: Server) -> Result<Self> {
        let gate = Self::on(server);
        let limit = gate.line.server().query_timeout();
        let mode: String = gate.line.first("reading @@GLOBAL.gtid_mode", "SELECT @@GLOBAL.gtid_mode", limit).await?;
        if mode.starts_with("ON") {
            return Ok(gate);
        }
        Err(Error::new(
            ErrorKind::Config,
            format!(
                "{} has gtid_mode={mode}, so nobody can wait for a commit to become visible: SET PERSIST gtid_mode=ON, \
                 step by step as MySQL's manual says",
                gate.line.server().address()
            ),
        ))
    }

    pub(crate) fn on(server: Server) -> Self {
        Self { line: Line::new(server) }
    }
}

#[async_trait]
impl VisibilityGate for MySqlGate {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        if position.is_empty() {
            return Ok(true);
        }
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(WAIT_ON_SERVER_MAX);
            // The text is made of a position's own characters: hexadecimal digits, tags, numbers.
            let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', {:.3})", left.as_secs_f64().max(0.001));
            let limit = left + self.line.server().query_timeout();
            let timed_out: i64 = self.line.first("waiting for commits to become visible", &sql, limit).await?;
            if timed_out == 0 {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }
}
