//! The app servers of this process, side by side: each has caches, a process-local tier and a subscription to the bus of its own,
//! over one store, one database and one invalidator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefront::{Error, Get, Hit, ServingMode, Tier};
use serde::Serialize;
use utoipa::ToSchema;

use crate::caches::Caches;
use crate::domain::{Mode, User};
use crate::faults::Faults;
use crate::server_name::ServerName;
use crate::writes::Writes;

/// A key that no user has: it shows the state of a server's tiers without a user.
const NO_USER: u64 = 0;

/// One app server.
#[derive(Clone, Debug)]
pub struct AppServer {
    pub name: ServerName,
    pub caches: Caches,
    /// Notes which writes the values of reads contain.
    pub writes: Arc<Writes>,
}

/// All app servers of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Servers {
    all: Arc<[AppServer]>,
    faults: Arc<Faults>,
}

/// Whether a server keeps values in its own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TierState {
    /// Every invalidation reaches the server: it serves values from its own memory.
    On,
    /// Invalidations may be missing: the tier is cleared, and reads go to the shared store.
    Off,
}

impl TierState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// A server, and what it has of a user.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ServerView {
    pub server: ServerName,
    /// True if the fault switch `bus_cut` has cut its subscription to the bus.
    pub bus_cut: bool,
    pub local_tier: TierState,
    /// Every invalidation up to this position has reached the server; null while its tier is off.
    pub handled: Option<String>,
    /// What reads do with the tiers: `normal` unless they were switched at run time.
    #[schema(value_type = String, example = "normal")]
    pub serving_mode: &'static str,
    /// What the server's own memory would serve of the user that was asked for; null if nothing.
    pub local: Option<LocalView>,
    /// The tier that would serve a plain read of that user, `local` or `shared`; null if it would load.
    pub served_from: Option<&'static str>,
}

/// A value in a server's own memory that a plain read is served.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LocalView {
    /// Null if it says that there is no such user.
    pub value: Option<User>,
    /// Time since its load began.
    pub age_ms: Option<u64>,
    /// The value was current within this time; null if that is not known.
    pub staleness_bound_ms: Option<u64>,
}

/// The outcome of a read through one server's caches.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ServerRead {
    pub server: ServerName,
    /// Null if there is no such user.
    pub value: Option<User>,
    /// `local`: the server's own memory; `shared`: the store; `database`.
    #[schema(value_type = String, example = "local")]
    pub tier: &'static str,
    /// The value was current within this time; null if that is not known.
    pub staleness_bound_ms: Option<u64>,
    /// Time since its load began.
    pub age_ms: Option<u64>,
    /// True if a load failed or was slow, and the last value of the server is served.
    pub stale: bool,
    /// Commits that the value is proven to contain.
    pub position: Option<String>,
    pub took_ms: f64,
}

impl Servers {
    /// `all` has at least one server, in the order of their names.
    pub(crate) fn new(all: Vec<AppServer>, faults: Arc<Faults>) -> Self {
        Self { all: all.into(), faults }
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub fn names(&self) -> impl Iterator<Item = ServerName> {
        self.all.iter().map(|server| server.name)
    }

    /// Returns the server of this name, `None` if this process has none.
    pub fn get(&self, name: ServerName) -> Option<&AppServer> {
        self.all.iter().find(|server| server.name == name)
    }

    /// Sets the mode for reads that start from now on, in all servers.
    pub fn set_mode(&self, mode: Mode) {
        self.all.iter().for_each(|server| server.caches.set_mode(mode));
    }

    /// Peeks into all servers for what they have of `user`. It changes nothing: no load, no fill.
    pub async fn look(&self, user: Option<u64>) -> Vec<ServerView> {
        let cut = self.faults.current().bus_cut;
        futures_util::future::join_all(self.all.iter().map(|server| server.look(user, cut == Some(server.name)))).await
    }

    /// Reads a user once through each server, as its clients do.
    pub async fn read_all(&self, id: u64) -> Vec<(ServerName, cachefront::Result<ServerRead>)> {
        let reads = self.all.iter().map(|server| async move { (server.name, server.read(id, |read| read).await) });
        futures_util::future::join_all(reads).await
    }
}

impl AppServer {
    async fn look(&self, user: Option<u64>, bus_cut: bool) -> ServerView {
        let id = user.unwrap_or(NO_USER);
        // The peek first: the tier may turn off in between, and then its value is shown by no later look.
        let local = match user {
            Some(id) => self.caches.users.peek(&id).await.ok().flatten().filter(|hit| hit.tier == Tier::Local),
            None => None,
        };
        let explained = self.caches.explain(id).await.ok();
        let tier = explained.as_ref().and_then(|explained| explained.local.as_ref());
        let is_on = tier.is_some_and(|tier| tier.following);
        let serving = explained.as_ref().map_or(ServingMode::Normal, |explained| explained.serving_mode);
        let served = explained.as_ref().and_then(|explained| explained.served_from);
        ServerView {
            server: self.name,
            bus_cut,
            local_tier: if is_on { TierState::On } else { TierState::Off },
            handled: tier.and_then(|tier| tier.handled.clone()),
            serving_mode: serving.as_str(),
            // It may have turned off since the peek.
            local: local.filter(|_| is_on).map(|hit| LocalView {
                age_ms: hit.age.map(millis),
                staleness_bound_ms: hit.staleness_bound.map(millis),
                value: hit.value,
            }),
            served_from: user.and(served).map(Tier::as_str),
        }
    }

    /// Reads a user through this server's caches. `asked` adds what the read requires.
    ///
    /// # Errors
    /// Those of a read through the cache.
    pub async fn read(
        &self,
        id: u64,
        asked: impl for<'a> FnOnce(Get<'a, u64, User, u64>) -> Get<'a, u64, User, u64>,
    ) -> Result<ServerRead, Error> {
        let began = Instant::now();
        let read = async {
            match asked(self.caches.users.get(&id)).detailed().await {
                // As of `/users/{id}`: a replica lacks the proof, so the primary itself is read.
                Err(error) if error.kind() == cachefront::ErrorKind::Unproven => self.caches.user_of_primary(id).await,
                hit => hit,
            }
        };
        let hit = self.writes.reading(id, read).await?;
        Ok(ServerRead::of(self.name, hit, began.elapsed()))
    }
}

impl ServerRead {
    fn of(server: ServerName, hit: Hit<User>, took: Duration) -> Self {
        Self {
            server,
            tier: hit.tier.as_str(),
            staleness_bound_ms: hit.staleness_bound.map(millis),
            age_ms: hit.age.map(millis),
            stale: hit.stale,
            position: hit.position.map(|position| position.to_string()),
            value: hit.value,
            took_ms: took.as_secs_f64() * 1e3,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
