//! A connection for short queries that is replaced when it is lost or leads to the wrong server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use mysql_async::Conn;
use mysql_async::prelude::FromRow;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::conn::Server;
use crate::origin::Origin;
use crate::rows_of::RowsOf;

/// A connection for short queries, opened by the first query and then kept.
///
/// It is replaced after a failure, after a query whose future was dropped (the rest of its reply must not reach the next
/// query), and after its [`Origin`] has changed.
pub(crate) struct Link {
    server: Server,
    origin: Arc<Origin>,
    /// The age after which the connection is replaced.
    redial: Option<Duration>,
    idle: Mutex<Option<Idle>>,
}

/// `epoch` is the one of the origin when it was opened.
struct Idle {
    conn: Conn,
    epoch: u64,
    dialed_at: Instant,
}

/// A connection that is in use for several queries.
pub(crate) struct Lent {
    idle: Idle,
    /// True if it was open before: the server may have closed it since.
    pub(crate) was_idle: bool,
}

impl Lent {
    pub(crate) fn conn(&mut self) -> &mut Conn {
        &mut self.idle.conn
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("server", &self.server).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(server: Server, origin: Arc<Origin>) -> Self {
        Self { server, origin, redial: None, idle: Mutex::new(None) }
    }

    /// Replaces the connection after `age`. If that fails, the connection is kept for `age` more.
    pub(crate) fn redial_after(mut self, age: Duration) -> Self {
        self.redial = Some(age);
        self
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Closes the connection. The next query opens another one.
    pub(crate) async fn close(&self) {
        self.idle.lock().await.take();
    }

    /// Returns the first row of a query. A connection that turns out to be lost is replaced once.
    ///
    /// # Cancel safety
    /// Cancel safe: the connection is closed, and the next query opens another one.
    pub(crate) async fn first<R>(&self, doing: &str, sql: &str, limit: Duration) -> Result<R>
    where
        R: FromRow + Send + 'static,
    {
        let mut idle = self.idle.lock().await;
        self.refresh(&mut idle).await;
        // Cancel safe: the connection is moved out while the query runs, so it is closed if this future is dropped.
        if let Some(mut taken) = idle.take() {
            match self.server.within(doing, limit, taken.conn.first_of(sql)).await {
                Ok(row) => {
                    *idle = Some(taken);
                    return row.ok_or_else(|| no_row(doing));
                }
                Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
                // The server may have closed it because it was idle.
                Err(_) => drop(taken),
            }
        }
        let mut fresh = self.dial().await?;
        let row = self.server.within(doing, limit, fresh.conn.first_of(sql)).await?;
        *idle = Some(fresh);
        row.ok_or_else(|| no_row(doing))
    }

    /// Takes the connection, or opens one, for several queries that must reach one server.
    pub(crate) async fn lend(&self) -> Result<Lent> {
        let mut idle = self.idle.lock().await;
        self.refresh(&mut idle).await;
        match idle.take() {
            Some(idle) => Ok(Lent { idle, was_idle: true }),
            None => Ok(Lent { idle: self.dial().await?, was_idle: false }),
        }
    }

    /// Keeps a connection for the next query. One that is dropped instead is closed.
    pub(crate) async fn give_back(&self, lent: Lent) {
        *self.idle.lock().await = Some(lent.idle);
    }

    /// Closes an idle connection of an earlier epoch, and replaces one that has reached its maximum age.
    async fn refresh(&self, idle: &mut Option<Idle>) {
        let Some(current) = idle else { return };
        if current.epoch != self.origin.epoch() {
            *idle = None;
        } else if self.redial.is_some_and(|age| current.dialed_at.elapsed() >= age) {
            match self.dial().await {
                Ok(fresh) => *current = fresh,
                Err(error) => {
                    tracing::warn!(server = ?self.server, error = %error.chain(), "the connection could not be replaced and is kept");
                    current.dialed_at = Instant::now();
                }
            }
        }
    }

    async fn dial(&self) -> Result<Idle> {
        // Read before connecting: if the epoch changes meanwhile, the connection counts as old.
        let epoch = self.origin.epoch();
        let conn = self.server.connect().await?;
        Ok(Idle { conn, epoch, dialed_at: Instant::now() })
    }
}

/// The error of a query that must return a row.
fn no_row(doing: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{doing} returned no row"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BinlogSettings;
    use crate::conn::Tls;

    #[test]
    fn the_password_is_never_shown() {
        let server = Server::new("mysql://repl:s3cret@db/shop", &Tls::default(), &BinlogSettings::default());
        let link = Link::new(server.expect("a server"), Arc::default());
        assert!(!format!("{link:?}").contains("s3cret"));
    }
}
