//! What is to be said about all entries at this moment.

use std::time::Duration;

use super::users::{State, UserRow};
use crate::inspector::{self, Consistency};

/// The four things that the panel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Healthy,
    Stale,
    Empty,
    Unknown,
}

impl Word {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Stale => "stale",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        }
    }
}

/// How many entries are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) healthy: usize,
    pub(super) stale: usize,
    pub(super) absent: usize,
    pub(super) negative: usize,
}

/// The verdict over everything that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) word: Word,
    pub(super) counts: Counts,
    /// How long the entry that is stale for the longest time has been so.
    pub(super) oldest: Option<Duration>,
    /// Why nothing can be said.
    pub(super) cause: Option<String>,
    /// Entries compared with their rows.
    pub(super) compared: u64,
    /// The exact words.
    pub(super) words: String,
    /// Entries that differ.
    pub(super) stale: u64,
}

impl Verdict {
    pub(super) fn unknown(cause: impl Into<String>) -> Self {
        let (counts, cause) = (Counts::default(), Some(cause.into()));
        Self { word: Word::Unknown, counts, oldest: None, cause, compared: 0, words: "cache unknown".into(), stale: 0 }
    }

    /// What the inspector says, and how many of the shown rows are in which state.
    pub(super) fn of(said: &Consistency, rows: &[UserRow]) -> Self {
        let mut counts = Counts::default();
        for row in rows {
            match row.state {
                State::Healthy => counts.healthy += 1,
                State::Stale => counts.stale += 1,
                State::Absent => counts.absent += 1,
                State::Negative => counts.negative += 1,
                State::Unknown => {}
            }
        }
        let word = match said.verdict {
            inspector::Verdict::Healthy => Word::Healthy,
            inspector::Verdict::Stale => Word::Stale,
            inspector::Verdict::Empty => Word::Empty,
            inspector::Verdict::Unknown => Word::Unknown,
        };
        let oldest = rows.iter().filter_map(|row| row.stale_for).max();
        Self {
            word,
            counts,
            oldest,
            cause: said.cause.clone(),
            compared: said.compared,
            words: said.words(),
            stale: said.stale,
        }
    }
}
