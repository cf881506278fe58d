//! The visibility gate: waits until commits are visible on the server that loaders read.
//!
//! `WAIT_FOR_EXECUTED_GTID_SET(set, seconds)` returns 0 when every transaction of the set is
//! executed, and 1 at the timeout; see
//! <https://dev.mysql.com/doc/refman/8.4/en/gtid-functions.html>. It is called again every 500 ms
//! until the caller's timeout, because a wait that is not needed any more keeps a thread of the
//! server busy until its own end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront_core::gate::VisibilityGate;
use cachefront_core::{Error, ErrorKind, Position, Result};
use tokio::time::Instant;

use crate::config::{BinlogSettings, deadline_after};
use crate::conn::{Server, Tls};
use crate::link::{Lent, Link};
use crate::mariadb::{IDENTITY_PREFIX, is_mariadb, position::is_of_mariadb, visible};
use crate::origin::{Origin, wrong_server};
use crate::position::{UNLIMITED, logged, wait_call, wait_visible};

/// Maximum time of one wait on the server: a wait whose future is dropped occupies a server thread until it ends.
const WAIT_ON_SERVER_MAX: Duration = Duration::from_millis(500);

/// Waits with `WAIT_FOR_EXECUTED_GTID_SET` until commits are visible on the server that loaders read.
///
/// MariaDB has no such function. There it waits until the place in the log up to which commits are visible, which the server
/// reports, has passed the one at which the log had all of them. The server must write a log of its own (a replica:
/// `log_slave_updates`), and the user needs the right BINLOG MONITOR.
///
/// It has a connection of its own, which is replaced after a failure and after a wait that was dropped. Its address must
/// lead to one server: behind a load balancer it would wait on one server, and loaders could read another.
///
/// The [gate](cachefront_core::source::ChangeSource::gate) of a source waits only on the server that the log is read from.
/// If the address leads to another one, the wait fails with `Unavailable`.
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
    link: Link,
}

impl MySqlGate {
    /// Connects to the server that loaders read. The user needs no privileges on MySQL. An option of the URL that turns the check
    /// of the server's certificate off is logged as a warning.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// `Config` if the URL, the user, the password or the certificate is wrong, or the server has no GTIDs;
    /// `Unavailable` or `Timeout` if the server cannot be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::checked(Server::new(url, &Tls::default(), &BinlogSettings::default())?).await
    }

    /// The same over TLS, with the certificate checked against the CA in `ca_file`.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`connect`](MySqlGate::connect); `Config` if the file cannot be read.
    pub async fn connect_tls(url: &str, ca_file: impl AsRef<Path>) -> Result<Self> {
        let tls = Tls::default().with_ca_file(ca_file.as_ref())?;
        Self::checked(Server::new(url, &tls, &BinlogSettings::default())?).await
    }

    /// # Errors
    /// `Config` if the server has no GTIDs, or on MariaDB if its log cannot be read.
    async fn checked(server: Server) -> Result<Self> {
        for (option, why) in server.unprotected() {
            tracing::warn!(server = server.address(), "the URL of the gate's server says {option}: {why}");
        }
        let gate = Self::on(server);
        let limit = gate.link.server().query_timeout();
        let mut lent = gate.link.lend().await?;
        let asked = is_mariadb(lent.conn());
        if gate.link.server().within("asking which server it is", limit, asked).await? {
            // It needs the log of that server, and the right to read its end.
            let waited = visible::all(lent.conn(), deadline_after(limit)).await;
            gate.link.give_back(lent).await;
            return waited.map(|_| gate);
        }
        gate.link.give_back(lent).await;
        let mode: String = gate.link.first("reading @@GLOBAL.gtid_mode", "SELECT @@GLOBAL.gtid_mode", limit).await?;
        if mode.starts_with("ON") {
            return Ok(gate);
        }
        Err(Error::new(
            ErrorKind::Config,
            format!(
                "{} has gtid_mode={mode}, so a commit's visibility cannot be awaited: SET PERSIST gtid_mode=ON, step by step \
                 as MySQL's manual says",
                gate.link.server().address()
            ),
        ))
    }

    /// A gate that accepts the server that the address leads to.
    fn on(server: Server) -> Self {
        Self::at(server, Arc::default())
    }

    /// A gate that waits only on the server that `origin` names, once it names one.
    pub(crate) fn at(server: Server, origin: Arc<Origin>) -> Self {
        Self { link: Link::new(server, origin) }
    }
}

impl MySqlGate {
    /// Waits on MariaDB, which has no function that does. A connection that turns out to be lost is replaced once.
    async fn wait_on_mariadb(
        &self,
        mut lent: Lent,
        position: &Position,
        expected: Option<&str>,
        deadline: Instant,
    ) -> Result<bool> {
        let was_idle = lent.was_idle;
        match self.try_mariadb(&mut lent, position, expected, deadline).await {
            Err(error) if was_idle && error.kind() == ErrorKind::Unavailable => {
                drop(lent);
                let mut fresh = self.link.lend().await?;
                let visible = self.try_mariadb(&mut fresh, position, expected, deadline).await?;
                self.link.give_back(fresh).await;
                Ok(visible)
            }
            waited => {
                if waited.is_ok() {
                    self.link.give_back(lent).await;
                }
                waited
            }
        }
    }

    /// # Errors
    /// `Unavailable` if the connection leads to another server than the log, `Timeout` if the
    /// server does not reply within its limit.
    async fn try_mariadb(
        &self,
        lent: &mut Lent,
        position: &Position,
        expected: Option<&str>,
        deadline: Instant,
    ) -> Result<bool> {
        let limit = deadline.saturating_duration_since(Instant::now()) + self.link.server().query_timeout();
        let conn = lent.conn();
        let waited = tokio::time::timeout(limit, async {
            let (has, server) = logged(conn).await?;
            if let Some(expected) = expected.filter(|expected| *expected != server) {
                return Err(wrong_server("the gate", self.link.server().address(), &server, expected));
            }
            wait_visible(conn, position, deadline, has).await
        });
        waited.await.unwrap_or_else(|_| {
            let text = format!(
                "waiting for commits to become visible on {} took longer than {limit:?}",
                self.link.server().address()
            );
            Err(Error::new(ErrorKind::Timeout, text))
        })
    }
}

#[async_trait]
impl VisibilityGate for MySqlGate {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        if position.is_empty() {
            return Ok(true);
        }
        let expected = self.link.origin().uuid();
        let deadline = deadline_after(timeout);
        // The origin says which server it is, and before it is known the position.
        let says = |own: &str| own.starts_with(IDENTITY_PREFIX);
        if expected.as_deref().map_or_else(|| is_of_mariadb(position), says) {
            let lent = self.link.lend().await?;
            return self.wait_on_mariadb(lent, position, expected.as_deref(), deadline).await;
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(WAIT_ON_SERVER_MAX);
            let sql = query(position, left, expected.as_deref());
            let limit = left + self.link.server().query_timeout();
            let (uuid, timed_out): (String, Option<i64>) =
                self.link.first("waiting for commits to become visible", &sql, limit).await?;
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != uuid) {
                self.link.close().await;
                return Err(wrong_server("the gate", self.link.server().address(), &uuid, expected));
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

/// Builds the statement that waits and also returns the server's UUID, because a proxy may send a second statement to
/// another server. On a server other than `expected` it does not wait.
fn query(position: &Position, limit: Duration, expected: Option<&str>) -> String {
    let wait = wait_call(position, limit);
    match expected {
        // The characters of a UUID. Anything else would need quoting, and no wait takes place.
        Some(uuid) if uuid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            format!("SELECT {UNLIMITED} @@GLOBAL.server_uuid, IF(@@GLOBAL.server_uuid = '{uuid}', {wait}, NULL)")
        }
        Some(_) => "SELECT @@GLOBAL.server_uuid, NULL".into(),
        None => format!("SELECT {UNLIMITED} @@GLOBAL.server_uuid, {wait}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_takes_place_only_on_the_expected_server() {
        let position: Position = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().expect("a position");
        let wait = "WAIT_FOR_EXECUTED_GTID_SET('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5', 0.250)";
        let limit = Duration::from_millis(250);
        assert_eq!(query(&position, limit, None), format!("SELECT {UNLIMITED} @@GLOBAL.server_uuid, {wait}"));
        assert_eq!(
            query(&position, limit, Some("3e-1")),
            format!("SELECT {UNLIMITED} @@GLOBAL.server_uuid, IF(@@GLOBAL.server_uuid = '3e-1', {wait}, NULL)")
        );
        assert_eq!(query(&position, limit, Some("' OR '")), "SELECT @@GLOBAL.server_uuid, NULL");
    }
}
