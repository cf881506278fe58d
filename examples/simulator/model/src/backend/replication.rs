//! Lets the simulated replica follow the database's log while its fault switch is on.

use std::time::Duration;

use cachefront::Result;
use cachefront::source::TableFilter;

use super::components::SourceFactory;
use crate::replica::Replica;

/// The pause after a failure, before the log is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the log whenever the switch is on. Never returns.
pub(super) async fn run(replica: &Replica, sources: &dyn SourceFactory, filter: &TableFilter) {
    loop {
        replica.until_lagging().await;
        if let Err(error) = follow(replica, sources, filter).await {
            tracing::warn!(error = %error.chain(), "the replica of the fault switch cannot follow the log; it is opened again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn follow(replica: &Replica, sources: &dyn SourceFactory, filter: &TableFilter) -> Result<()> {
    let mut source = sources.replicated().await?;
    let followed = replica.follow(&mut *source, filter).await;
    source.close().await;
    followed
}
