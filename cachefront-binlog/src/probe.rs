//! The probe: reads the current end of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cachefront_core::Result;
use cachefront_core::source::{Checkpoint, Head, SourceProbe};

use crate::conn::Server;
use crate::link::Link;
use crate::origin::Origin;
use crate::position::{POSITION, parse};

/// Reads the executed GTIDs of the server, on a connection of its own.
///
/// The server updates `@@GLOBAL.gtid_executed` right after a commit becomes visible: within one group commit, for some
/// microseconds, a reader may see a commit that is not in it yet. That is far below the assumed clock skew.
///
/// It records the server that it reached, and replaces its connection periodically: a connection that was opened before
/// the address moved would continue to report the old server. A server that takes no writes may just have been demoted,
/// and its end must not be mistaken for that of the log, so it is queried on a new connection each time.
///
/// A server with `read_only` is a replica and may not have executed all commits, so its end proves no bound on staleness. A
/// replica that takes writes cannot be distinguished from a primary.
#[derive(Debug)]
pub(crate) struct MySqlProbe {
    link: Link,
    read_only: AtomicBool,
}

impl MySqlProbe {
    pub(crate) fn new(server: Server, origin: Arc<Origin>, redial: Duration) -> Self {
        Self { link: Link::new(server, origin).redial_after(redial), read_only: AtomicBool::new(false) }
    }
}

#[async_trait]
impl SourceProbe for MySqlProbe {
    async fn head(&self) -> Result<Head> {
        let limit = self.link.server().query_timeout();
        // In one statement, so that all are of one server.
        let head = format!("{POSITION}, @@GLOBAL.read_only");
        let query = || self.link.first::<(String, String, bool)>("reading the log's end", &head, limit);
        let (mut executed, mut uuid, mut read_only) = query().await?;
        if read_only {
            self.link.close().await;
            (executed, uuid, read_only) = query().await?;
        }
        self.read_only.store(read_only, Ordering::SeqCst);
        self.link.origin().note(&uuid);
        let position = parse(&executed, &uuid)?;
        Ok(Head { checkpoint: Checkpoint { position, resume: Bytes::new() }, origin: uuid.into() })
    }

    fn proves_time(&self) -> bool {
        !self.read_only.load(Ordering::SeqCst)
    }
}
