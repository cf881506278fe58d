//! A database with one row: its commits, who can see them, and its log.
//!
//! It does on request what MySQL does by itself. A commit is in the log first; sessions see it when it is revealed. A replica
//! executes it when it catches up. The log is handed to its readers as far as it was delivered, and can be purged.

use std::sync::Arc;

use cachefront::{Gtid, Position};
use tokio::sync::watch;

use crate::watched::Watched;

/// The server whose log is followed.
pub(crate) const PRIMARY: &str = "primary";

/// The name in the row at first, and the one that the writer gives it.
pub const OLD_NAME: &str = "Ada";
pub const NEW_NAME: &str = "Ada King";

/// One row and its history. Commits are numbered from one.
#[derive(Debug)]
pub(crate) struct RaceDatabase(Watched<State>);

#[derive(Clone, Debug)]
struct State {
    /// The name in the row after each commit.
    names: Vec<&'static str>,
    /// Number of commits that sessions see.
    visible: u64,
    /// Number of commits that the replica has executed.
    replica: u64,
    /// Number of commits that readers of the log have been given.
    delivered: u64,
    /// Number of commits that are no longer in the log.
    purged: u64,
    /// Number of waits at the gate that are in progress.
    gate_waits: usize,
}

/// A number for each view of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) committed: u64,
    pub(crate) visible: u64,
    pub(crate) replica: u64,
    pub(crate) delivered: u64,
    pub(crate) purged: u64,
    pub(crate) gate_waits: usize,
}

/// Which server a session reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Primary,
    Replica,
}

impl RaceDatabase {
    /// Creates a database whose first commit has inserted the row; every server and every reader of the log has seen it.
    pub(crate) fn new() -> Arc<Self> {
        let state = State { names: vec![OLD_NAME], visible: 1, replica: 1, delivered: 1, purged: 0, gate_waits: 0 };
        Arc::new(Self(Watched::new(state)))
    }

    /// Gives the row its new name. Sessions see it at once, unless the commit is hidden.
    pub(crate) fn commit(&self, hidden: bool) -> Gtid {
        self.0.change(|state| {
            state.names.push(NEW_NAME);
            let number = state.names.len() as u64;
            if !hidden {
                state.visible = number;
            }
            Gtid { origin: PRIMARY.into(), number }
        })
    }

    /// Makes every commit visible to sessions of the primary.
    pub(crate) fn reveal(&self) {
        self.0.change(|state| state.visible = state.names.len() as u64);
    }

    /// Lets the replica execute everything.
    pub(crate) fn catch_up(&self) {
        self.0.change(|state| state.replica = state.names.len() as u64);
    }

    /// Hands everything that was committed to the readers of the log.
    pub(crate) fn deliver(&self) {
        self.0.change(|state| state.delivered = state.names.len() as u64);
    }

    /// Removes everything from the log.
    pub(crate) fn purge(&self) {
        self.0.change(|state| state.purged = state.names.len() as u64);
    }

    pub(crate) fn note_gate(&self, waits: bool) {
        self.0.change(|state| {
            state.gate_waits =
                if waits { state.gate_waits.saturating_add(1) } else { state.gate_waits.saturating_sub(1) };
        });
    }

    /// Returns the number of commits that a session of `server` sees, and the row's name there: one snapshot.
    pub(crate) fn session(&self, server: Server) -> (u64, &'static str) {
        let state = self.0.lock();
        let seen = match server {
            Server::Primary => state.visible,
            Server::Replica => state.replica,
        };
        (seen, state.name_after(seen))
    }

    /// Returns the row's name after a commit.
    pub(crate) fn name_after(&self, commit: u64) -> &'static str {
        self.0.lock().name_after(commit)
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let state = self.0.lock();
        Numbers {
            committed: state.names.len() as u64,
            visible: state.visible,
            replica: state.replica,
            delivered: state.delivered,
            purged: state.purged,
            gate_waits: state.gate_waits,
        }
    }

    /// Returns a receiver that is notified of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }
}

impl State {
    fn name_after(&self, commit: u64) -> &'static str {
        let place = usize::try_from(commit).unwrap_or(usize::MAX).saturating_sub(1);
        self.names.get(place).copied().unwrap_or(OLD_NAME)
    }
}

/// Returns the position of everything up to a commit.
pub(crate) fn up_to(commit: u64) -> Position {
    let mut position = Position::new();
    position.insert_range(&Arc::from(PRIMARY), 1, commit);
    position
}

/// Returns the newest commit of a position, zero if there is none.
pub(crate) fn newest(position: &Position) -> u64 {
    position.ranges().flat_map(|(_, ranges)| ranges.iter().map(|(_, end)| *end)).max().unwrap_or_default()
}
