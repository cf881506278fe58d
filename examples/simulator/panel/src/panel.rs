//! The state that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use simulator_api::Api;
use simulator_model::domain::Database;
use simulator_race::Worlds;

use super::archive::Archive;
use super::gauges::Numbers;
use super::limits::Limits;
use super::listing::Listing;
use super::live::Live;
use super::peer::Peer;
use super::refusals::Refusals;
use super::rows::RowCache;
use super::runs::Runs;
use super::seats::Seats;
use super::servers::ServersSeen;
use super::tour::Tour;

/// The shared state of the panel's handlers.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) api: Arc<Api>,
    /// A command with which another program can change a row, for people to copy.
    pub(crate) hint: String,
    /// Maximum lifetime of an entry.
    pub(crate) ttl: Duration,
    /// The database without injected faults, so that entries are compared with the actual rows.
    pub(crate) database: Arc<dyn Database>,
    pub(crate) live: Live,
    pub(crate) row_cache: RowCache,
    pub(crate) tour: Tour,
    pub(crate) runs: Runs,
    /// The runs that are kept over a restart.
    pub(crate) archive: Archive,
    pub(crate) numbers: Numbers,
    /// The API, if other processes serve it.
    pub(crate) peer: Option<Peer>,
    pub(crate) listing: Listing,
    /// What users were read as through each app server.
    pub(crate) servers_seen: Arc<ServersSeen>,
    pub(crate) limits: Limits,
    pub(crate) refusals: Refusals,
    /// The tabs that follow the panel; the API's clients are counted apart.
    pub(crate) seats: Seats,
    /// The races that viewers play.
    pub(crate) races: Worlds,
    /// True if no user may change anything through this panel.
    pub(crate) read_only: bool,
}

impl Panel {
    /// Returns true if several app servers of this process can be shown side by side. A panel that runs alone has none: the API's
    /// processes are the servers.
    pub(crate) fn has_servers(&self) -> bool {
        self.peer.is_none() && self.api.servers.count() > 1
    }
}
