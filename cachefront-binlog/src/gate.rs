//! The visibility gate: waits until commits can be read on the server that loaders read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront_core::gate::VisibilityGate;
use cachefront_core::{Error, ErrorKind, Position, Result};
use tokio::time::Instant;

use crate::config::BinlogSettings;
use crate::conn::{Server, Tls};
use crate::line::Line;
use crate::origin::{Origin, elsewhere};

/// One wait on the server lasts at most this long, so that a wait that is dropped holds its thread only briefly.
const WAIT_ON_SERVER_MAX: Duration = Duration::from_millis(500);

/// Waits with `WAIT_FOR_EXECUTED_GTID_SET` until commits are visible on the server that loaders read.
///
/// It has a connection of its own, replaced after any failure, and after a wait that was dropped. Its address must lead to
/// one server: of several behind a load balancer it would wait for one, and loaders might read another.
///
/// A source's own [gate](cachefront_core::source::ChangeSource::gate) waits only on the server that its log is read
/// from. If the address leads elsewhere, the wait is an error of kind `Unavailable`.
///
/// ```no_run
/// # async fn run() -> cachefront::Result<()> {
/// let gate = cachefront::binlog::MySqlGate::connect("mysql://app:secret@db.internal/").await?;
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

    /// A gate on a server of the caller's choice.
    fn on(server: Server) -> Self {
        Self::at(server, Arc::default())
    }

    /// A gate on the server that `origin` names, once it names one.
    pub(crate) fn at(server: Server, origin: Arc<Origin>) -> Self {
        Self { line: Line::new(server, origin) }
    }
}

#[async_trait]
impl VisibilityGate for MySqlGate {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        if position.is_empty() {
            return Ok(true);
        }
        let expected = self.line.origin().uuid();
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(WAIT_ON_SERVER_MAX);
            let sql = question(position, left, expected.as_deref());
            let limit = left + self.line.server().query_timeout();
            let (uuid, timed_out): (String, Option<i64>) =
                self.line.first("waiting for commits to become visible", &sql, limit).await?;
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != uuid) {
                self.line.hang_up().await;
                return Err(elsewhere("the gate", self.line.server().address(), &uuid, expected));
            }
            if timed_out == Some(0) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }
}

/// Waits, and names the server that it waited on, in one statement: a proxy may send the next one elsewhere. On a server
/// other than `expected` it does not wait.
fn question(position: &Position, limit: Duration, expected: Option<&str>) -> String {
    // The text is made of a position's own characters: hexadecimal digits, tags, numbers.
    let wait = format!("WAIT_FOR_EXECUTED_GTID_SET('{position}', {:.3})", limit.as_secs_f64().max(0.001));
    match expected {
        // Those of a UUID; a server that reports anything else is not waited on.
        Some(uuid) if uuid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            format!("SELECT @@GLOBAL.server_uuid, IF(@@GLOBAL.server_uuid = '{uuid}', {wait}, NULL)")
        }
        Some(_) => "SELECT @@GLOBAL.server_uuid, NULL".into(),
        None => format!("SELECT @@GLOBAL.server_uuid, {wait}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_bound_to_the_server_that_is_expected() {
        let position: Position = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().expect("a position");
        let wait = "WAIT_FOR_EXECUTED_GTID_SET('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5', 0.250)";
        let limit = Duration::from_millis(250);
        assert_eq!(question(&position, limit, None), format!("SELECT @@GLOBAL.server_uuid, {wait}"));
        assert_eq!(
            question(&position, limit, Some("3e-1")),
            format!("SELECT @@GLOBAL.server_uuid, IF(@@GLOBAL.server_uuid = '3e-1', {wait}, NULL)")
        );
        assert_eq!(question(&position, limit, Some("' OR '")), "SELECT @@GLOBAL.server_uuid, NULL");
    }
}
