//! Where the log ends now.

use async_trait::async_trait;
use bytes::Bytes;
use cachefront_core::Result;
use cachefront_core::source::{Checkpoint, Head, SourceProbe};

use crate::conn::{Line, Server};
use crate::position::parse_executed;

/// Asks the server what it has executed, on a connection of its own.
///
/// `@@GLOBAL.gtid_executed` is written right after a commit becomes visible: within one group commit, for some
/// microseconds, a reader may see a commit that is not in it yet. That is far below any clock skew allowed for.
#[derive(Debug)]
pub(crate) struct MySqlProbe {
    line: Line,
}

impl MySqlProbe {
    pub(crate) fn new(server: Server) -> Self {
        Self { line: Line::new(server) }
    }
}

#[async_trait]
impl SourceProbe for MySqlProbe {
    async fn head(&self) -> Result<Head> {
        let limit = self.line.server().query_timeout();
        let sql = "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.server_uuid";
        let (executed, origin): (String, String) = self.line.first("reading the log's end", sql, limit).await?;
        let position = parse_executed(&executed)?;
        Ok(Head { checkpoint: Checkpoint { position, resume: Bytes::new() }, origin: origin.into() })
    }
}
