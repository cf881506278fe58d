//! The loader of both caches: it reads the row in a session of the primary, or of the replica.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use cachefront::{LoadCx, Loader, Position};

use crate::database::{PRIMARY, RaceDatabase, Server, up_to};
use crate::loads::Loads;
use crate::wait;

/// The id of the row.
pub(crate) const ROW: u64 = 7;

/// Reads the row.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) database: Arc<RaceDatabase>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) server: Server,
}

/// What a load has read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Number of commits that the server had executed.
    pub(crate) executed: u64,
    /// The place of the load in the list of loads.
    pub(crate) place: usize,
}

impl Rows {
    /// Reads the row, as a session of the server sees it. Waits for the fence before, if there is one; is held after the read, if
    /// the fault is on.
    pub(crate) async fn read(&self, fence: Option<(&Position, Duration)>) -> Row {
        let executed = || self.database.session(self.server).0;
        let behind = match fence {
            Some((fence, wait)) => !wait::until(wait, || ready(up_to(executed()).covers(fence))).await,
            None => false,
        };
        let (executed, name) = self.database.session(self.server);
        let place = self.loads.read(name, behind).await;
        Row { name, executed, place }
    }
}

impl Loader<u64, String> for Rows {
    type Error = Infallible;

    async fn load(&self, _id: &u64, cx: &LoadCx) -> Result<Option<String>, Infallible> {
        let fence = cx.fence().map(|fence| (fence, cx.fence_wait()));
        let row = self.read(fence).await;
        cx.position(up_to(row.executed));
        match self.server {
            Server::Primary => cx.origin(PRIMARY),
            Server::Replica => cx.replica(),
        }
        Ok(Some(row.name.to_owned()))
    }
}
