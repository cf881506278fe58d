//! The probe: reads the current end of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cachefront_core::Result;
use cachefront_core::source::{Checkpoint, Head, SourceProbe};

use crate::conn::{READ_ONLY, Server};
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
        let head = format!("{POSITION}, {READ_ONLY}");
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

#[cfg(test)]
mod tests {
    use cachefront_core::ErrorKind;

    use super::*;
    use crate::config::BinlogSettings;
    use crate::conn::Tls;
    use crate::scripted::{Scripted, UUID};

    fn server(scripted: &Scripted) -> Server {
        Server::new(&scripted.url, &Tls::default(), &BinlogSettings::default()).expect("a server")
    }

    #[tokio::test]
    async fn a_server_may_say_in_words_whether_it_takes_writes() {
        for version in ["26.7.0", "12.0.2-MariaDB", "5.5.5-11.8.2-MariaDB-ubu2404"] {
            let scripted = Scripted::serve_as(version, Vec::new()).await;
            let probe = MySqlProbe::new(server(&scripted), Arc::default(), Duration::from_secs(60));
            let head = probe.head().await.expect("the end of the log");
            assert_eq!(*head.origin, *UUID, "{version}");
            assert!(probe.proves_time(), "{version}: it takes writes");
        }
    }

    #[tokio::test]
    async fn a_value_of_another_type_is_an_error_and_no_panic() {
        let scripted = Scripted::serve(Vec::new()).await;
        let link = Link::new(server(&scripted), Arc::default());
        let refused = link.first::<bool>("reading a word", "SELECT 'a word'", Duration::from_secs(10)).await;
        let error = refused.expect_err("a word is no number");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.chain().contains("other types"), "{}", error.chain());
    }
}
