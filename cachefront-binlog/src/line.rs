//! A connection for short questions that is replaced when it fails or leads to the wrong server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use mysql_async::Conn;
use mysql_async::prelude::{FromRow, Queryable};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::conn::Server;
use crate::origin::Origin;

/// A connection of its own for short questions.
///
/// It is made when first needed and kept. It is replaced after a failure, after a question that was dropped half-way
/// (so that the rest of its reply cannot reach the next one), and when its [`Origin`] has changed since.
pub(crate) struct Line {
    server: Server,
    origin: Arc<Origin>,
    /// The connection is replaced after this time.
    redial: Option<Duration>,
    idle: Mutex<Option<Idle>>,
}

struct Idle {
    conn: Conn,
    epoch: u64,
    dialed_at: Instant,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("server", &self.server).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Line {
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

    /// Closes the connection. The next question makes a new one.
    pub(crate) async fn hang_up(&self) {
        self.idle.lock().await.take();
    }

    /// The first row of a query. A connection that turns out to be dead is replaced once.
    pub(crate) async fn first<R>(&self, doing: &str, sql: &str, limit: Duration) -> Result<R>
    where
        R: FromRow + Send + 'static,
    {
        let mut idle = self.idle.lock().await;
        self.refresh(&mut idle).await;
        // Taken out while the question runs: if this future is dropped, the connection is closed with it.
        if let Some(mut line) = idle.take() {
            match self.server.within(doing, limit, line.conn.query_first(sql)).await {
                Ok(row) => {
                    *idle = Some(line);
                    return row.ok_or_else(|| no_row(doing));
                }
                Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
                // It may only have been closed for idleness.
                Err(_) => drop(line),
            }
        }
        let mut line = self.dial().await?;
        let row = self.server.within(doing, limit, line.conn.query_first(sql)).await?;
        *idle = Some(line);
        row.ok_or_else(|| no_row(doing))
    }

    /// Closes an idle connection that may lead to another server than a new one would, and replaces one that is old.
    async fn refresh(&self, idle: &mut Option<Idle>) {
        let Some(line) = idle else { return };
        if line.epoch != self.origin.epoch() {
            *idle = None;
        } else if self.redial.is_some_and(|age| line.dialed_at.elapsed() >= age) {
            match self.dial().await {
                Ok(fresh) => *line = fresh,
                Err(error) => {
                    tracing::warn!(server = ?self.server, error = %error.chain(), "the connection cannot be replaced and is kept");
                    line.dialed_at = Instant::now();
                }
            }
        }
    }

    async fn dial(&self) -> Result<Idle> {
        // Read before connecting: what changes in between makes the connection an old one.
        let epoch = self.origin.epoch();
        let conn = self.server.connect().await?;
        Ok(Idle { conn, epoch, dialed_at: Instant::now() })
    }
}

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
        let line = Line::new(server.expect("a server"), Arc::default());
        assert!(!format!("{line:?}").contains("s3cret"));
    }
}
