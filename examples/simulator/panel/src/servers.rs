//! What the page of the app servers shows: one user, read through each server once a second while a tab has the page open.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use simulator_model::domain::{Database, User};
use simulator_model::server_name::ServerName;
use simulator_model::servers::{ServerRead, ServerView, Servers};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::moment::Moment;
use super::query::QueryParameters;

/// How often the observed user is read through each server: often enough to see a server change, and no load.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Maximum number of users that are observed at once, by tabs that show different ones.
const OBSERVED_MAX: usize = 8;

/// Number of reads whose tiers are counted.
pub(super) const COUNTED: usize = 30;

/// How a read compares with the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// The value is that of the row, as it was before the read or after it.
    Equal,
    /// The row had another value before the read began, and after it ended.
    Older,
    /// The row could not be read.
    Unknown,
}

/// The last read through one server.
#[derive(Clone, Debug)]
pub(super) struct LastRead {
    /// The error's text if the read failed.
    pub(super) outcome: Result<ServerRead, String>,
    pub(super) compared: Compared,
    /// The tiers of the last reads, the newest last.
    pub(super) tiers: VecDeque<&'static str>,
}

/// The last read through each server.
type ServerReads = Arc<Vec<(ServerName, LastRead)>>;

/// The servers, and one user as each has it.
#[derive(Clone, Debug)]
pub(super) struct SeenServers {
    /// `None` if there is no user.
    pub(super) user: Option<u64>,
    /// The row; `None` if there is none, or the database cannot be read.
    pub(super) row: Option<User>,
    pub(super) views: Vec<ServerView>,
    /// All of this was looked up at this time or later.
    pub(super) at: Instant,
    /// True if what is newer did not come in time.
    pub(super) is_late: bool,
    reads: ServerReads,
}

impl SeenServers {
    pub(super) fn read_of(&self, server: ServerName) -> Option<&LastRead> {
        self.reads.iter().find(|(name, _)| *name == server).map(|(_, read)| read)
    }
}

/// The last reads of each observed user, and what was last known of it.
#[derive(Debug)]
pub(super) struct ServersSeen {
    observed: Mutex<VecDeque<Observed>>,
    last: std::sync::Mutex<VecDeque<SeenServers>>,
    /// Permits for lookups: a slow store must not pile them up.
    lookups: Arc<Semaphore>,
}

impl Default for ServersSeen {
    fn default() -> Self {
        let lookups = Arc::new(Semaphore::new(OBSERVED_MAX));
        Self { observed: Mutex::default(), last: std::sync::Mutex::default(), lookups }
    }
}

#[derive(Debug)]
struct Observed {
    user: u64,
    read_at: Instant,
    reads: ServerReads,
}

/// Returns the user that a page shows: the one that is asked for, else the first one.
pub(super) fn observed(moment: &Moment, wanted: &QueryParameters) -> Option<u64> {
    let first = moment.survey.rows.iter().find(|row| row.database.is_some()).map(|row| row.id);
    if wanted.user > 0 { Some(wanted.user) } else { first }
}

impl ServersSeen {
    /// Returns the servers and what they have of `user`, as of now if that is known within `patience`, else as it was last known;
    /// `None` if it never was. A lookup that takes longer goes on, so that its outcome is there for the next page.
    pub(super) async fn within(
        self: &Arc<Self>,
        patience: Duration,
        servers: &Servers,
        database: &Arc<dyn Database>,
        user: Option<u64>,
    ) -> Option<SeenServers> {
        let mut is_late = true;
        if let Ok(permit) = Arc::clone(&self.lookups).try_acquire_owned() {
            let (seen, servers, database) = (Arc::clone(self), servers.clone(), Arc::clone(database));
            let lookup = tokio::spawn(async move {
                seen.look(&servers, &*database, user).await;
                drop(permit);
            });
            // Whether it ended in time or not, the newest outcome is the one that is kept.
            is_late = tokio::time::timeout(patience, lookup).await.is_err();
        }
        let seen = self.last().iter().rev().find(|seen| seen.user == user).cloned();
        seen.map(|seen| SeenServers { is_late, ..seen })
    }

    /// Examines the servers, and keeps what is seen. Reads the user through each of them, unless that was done less than
    /// [`READ_EVERY`] ago.
    async fn look(&self, servers: &Servers, database: &dyn Database, user: Option<u64>) {
        let began = Instant::now();
        let views = servers.look(user).await;
        let (reads, read_at, row) = match user {
            Some(id) => {
                let (reads, read_at) = self.reads(servers, database, id).await;
                (reads, read_at, row(database, id).await.ok().flatten())
            }
            None => (Arc::default(), began, None),
        };
        // The oldest part counts: the reads may be those of another tab.
        let seen = SeenServers { user, row, views, reads, at: began.min(read_at), is_late: false };
        let mut last = self.last();
        last.retain(|other| other.user != user);
        if last.len() >= OBSERVED_MAX {
            last.pop_front();
        }
        last.push_back(seen);
    }

    /// A poisoned lock is usable: what is seen is put in whole.
    fn last(&self) -> std::sync::MutexGuard<'_, VecDeque<SeenServers>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last read through each server, and when they began.
    async fn reads(&self, servers: &Servers, database: &dyn Database, id: u64) -> (ServerReads, Instant) {
        // Held while the user is read: tabs that show the same user share its reads.
        let mut all = self.observed.lock().await;
        let before = all.iter().position(|observed| observed.user == id).and_then(|at| all.remove(at));
        if let Some(observed) = before.as_ref().filter(|observed| observed.read_at.elapsed() < READ_EVERY) {
            let known = (Arc::clone(&observed.reads), observed.read_at);
            all.extend(before);
            return known;
        }
        let read_at = Instant::now();
        let row_before = row(database, id).await;
        let read = servers.read_all(id).await;
        let row_after = row(database, id).await;
        let reads = read.into_iter().map(|(server, outcome)| {
            let mut tiers = before.as_ref().map_or_else(VecDeque::new, |before| before.tiers_of(server));
            tiers.extend(outcome.as_ref().ok().map(|read| read.tier));
            while tiers.len() > COUNTED {
                tiers.pop_front();
            }
            let compared = match (&outcome, &row_before, &row_after) {
                (Ok(read), Ok(before), Ok(after)) => compare(read.value.as_ref(), before.as_ref(), after.as_ref()),
                _ => Compared::Unknown,
            };
            (server, LastRead { outcome: outcome.map_err(|error| error.chain().to_string()), compared, tiers })
        });
        let reads = Arc::new(reads.collect());
        if all.len() >= OBSERVED_MAX {
            all.pop_front();
        }
        all.push_back(Observed { user: id, read_at, reads: Arc::clone(&reads) });
        (reads, read_at)
    }
}

impl Observed {
    fn tiers_of(&self, server: ServerName) -> VecDeque<&'static str> {
        self.reads.iter().find(|(name, _)| *name == server).map(|(_, read)| read.tiers.clone()).unwrap_or_default()
    }
}

/// Compares what a read returned with the row before it and after it. A value between the two is of a write in between.
fn compare(value: Option<&User>, before: Option<&User>, after: Option<&User>) -> Compared {
    match (value, before) {
        _ if value == before || value == after => Compared::Equal,
        (Some(value), Some(before)) if value.updated_at > before.updated_at => Compared::Unknown,
        _ => Compared::Older,
    }
}

/// Reads the row, without the faults.
async fn row(database: &dyn Database, id: u64) -> Result<Option<User>, ()> {
    database.get(id).await.map(|seen| seen.value).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_older_only_if_the_row_was_newer_before_the_read() {
        let at = |second: &str| User {
            id: 1,
            name: format!("at {second}"),
            email: "a@x".into(),
            status: "active".into(),
            updated_at: format!("2026-01-31T12:00:{second}.000000Z"),
        };
        let (first, second, third) = (at("01"), at("02"), at("03"));
        assert_eq!(compare(Some(&first), Some(&second), Some(&second)), Compared::Older);
        assert_eq!(compare(Some(&first), Some(&first), Some(&second)), Compared::Equal);
        assert_eq!(compare(Some(&second), Some(&first), Some(&second)), Compared::Equal);
        assert_eq!(compare(Some(&second), Some(&first), Some(&third)), Compared::Unknown);
        assert_eq!(compare(None, Some(&first), Some(&first)), Compared::Older);
        assert_eq!(compare(Some(&first), None, None), Compared::Older);
        assert_eq!(compare(None, None, None), Compared::Equal);
    }
}
