//! What a scene consists of.

use serde::Deserialize;

use crate::database::Server;

/// Which cache a scene is played with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The cache that deletes on the event.
    #[default]
    Naive,
    /// The library.
    Cachefront,
}

impl Side {
    pub const ALL: [Self; 2] = [Self::Naive, Self::Cachefront];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Cachefront => "cachefront",
        }
    }
}

/// Who acts in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Reader,
    Writer,
    Log,
}

impl Lane {
    pub const ALL: [Self; 3] = [Self::Reader, Self::Writer, Self::Log];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Log => "log",
        }
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// This reader reads the key and gets a value.
    Read(char),
    /// The same, with the fault that holds its load after its read.
    ReadHeld(char),
    /// This reader reads the key while a load is held.
    ReadDuringLoad(char),
    /// This reader reads what it has written itself: the library is given the token of the commit.
    ReadOwn(char),
    /// The loads that are held go on, and every reader gets a value.
    Release,
    /// The writer commits.
    Commit,
    /// The same, with the fault that hides the commit from sessions.
    CommitHidden,
    /// Sessions see the commit.
    Reveal,
    /// The replica executes the commit.
    CatchUp,
    /// The consumer gets what is in the log.
    Deliver,
    /// The log loses what was not delivered.
    Purge,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub(crate) act: Act,
    /// What happens, in a few words.
    pub name: &'static str,
    /// What happens and why, on each side.
    pub(crate) naive: &'static str,
    pub(crate) cachefront: &'static str,
}

impl Step {
    /// Returns what happens in this step and why.
    pub fn text(&self, side: Side) -> &'static str {
        match side {
            Side::Naive => self.naive,
            Side::Cachefront => self.cachefront,
        }
    }

    pub fn lane(&self) -> Lane {
        match self.act {
            Act::Read(_) | Act::ReadHeld(_) | Act::ReadDuringLoad(_) | Act::ReadOwn(_) | Act::Release => Lane::Reader,
            Act::Commit | Act::CommitHidden | Act::Reveal | Act::CatchUp => Lane::Writer,
            Act::Deliver | Act::Purge => Lane::Log,
        }
    }
}

/// A race, step by step.
#[derive(Debug)]
pub struct Scene {
    /// Its name in URLs.
    pub path: &'static str,
    pub title: &'static str,
    /// What goes wrong, for people who know neither the log nor leases.
    pub question: &'static str,
    /// The rule of the protocol that closes the race, and its anchor in `docs/protocol.md`.
    pub rule: (&'static str, &'static str),
    /// Which server the loader reads.
    pub(crate) server: Server,
    pub steps: &'static [Step],
}
