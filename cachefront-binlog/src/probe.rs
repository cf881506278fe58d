//! Where the log ends now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cachefront_core::Result;
use cachefront_core::source::{Checkpoint, Head, SourceProbe};

use crate::conn::Server;
use crate::line::Line;
use crate::origin::Origin;
use crate::position::parse_executed;

/// The server's end, its name, and whether it takes writes: one statement, so that all are of one server.
const HEAD: &str = "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.server_uuid, @@GLOBAL.read_only";

/// Asks the server what it has executed, on a connection of its own.
///
/// `@@GLOBAL.gtid_executed` is written right after a commit becomes visible: within one group commit, for some
/// microseconds, a reader may see a commit that is not in it yet. That is far below any clock skew allowed for.
///
/// It notes the server that it reached, and replaces its connection from time to time: a connection that was made before
/// the address moved would go on to report the old server. A server that takes no writes may just have been demoted, and
/// its end would be taken for that of the log: it is asked on a new connection each time.
///
/// A server with `read_only` is a replica: what it has executed is not all that was committed. So its end bounds no
/// staleness. A replica that takes writes cannot be told from a primary.
#[derive(Debug)]
pub(crate) struct MySqlProbe {
    line: Line,
    read_only: AtomicBool,
}

impl MySqlProbe {
    pub(crate) fn new(server: Server, origin: Arc<Origin>, redial: Duration) -> Self {
        Self { line: Line::new(server, origin).redial_after(redial), read_only: AtomicBool::new(false) }
    }
}

#[async_trait]
impl SourceProbe for MySqlProbe {
    async fn head(&self) -> Result<Head> {
        let limit = self.line.server().query_timeout();
        let ask = || self.line.first::<(String, String, bool)>("reading the log's end", HEAD, limit);
        let (mut executed, mut uuid, mut read_only) = ask().await?;
        if read_only {
            self.line.hang_up().await;
            (executed, uuid, read_only) = ask().await?;
        }
        self.read_only.store(read_only, Ordering::SeqCst);
        self.line.origin().note(&uuid);
        let position = parse_executed(&executed)?;
        Ok(Head { checkpoint: Checkpoint { position, resume: Bytes::new() }, origin: uuid.into() })
    }

    fn proves_time(&self) -> bool {
        !self.read_only.load(Ordering::SeqCst)
    }
}
