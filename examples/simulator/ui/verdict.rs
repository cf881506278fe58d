//! What is to be said about all entries at this moment.

use std::time::Duration;

use super::users::{State, UserRow};

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
    pub(super) cause: Option<&'static str>,
}

impl Verdict {
    pub(super) fn unknown(cause: &'static str) -> Self {
        Self { word: Word::Unknown, counts: Counts::default(), oldest: None, cause: Some(cause) }
    }

    pub(super) fn of(rows: &[UserRow]) -> Self {
        let mut counts = Counts::default();
        for row in rows {
            match row.state {
                State::Healthy => counts.healthy += 1,
                State::Stale => counts.stale += 1,
                State::Absent => counts.absent += 1,
                State::Negative => counts.negative += 1,
                State::Unknown => return Self::unknown("The database does not answer: nothing can be proven."),
            }
        }
        let word = match (counts.stale, counts.healthy + counts.negative) {
            (0, 0) => Word::Empty,
            (0, _) => Word::Healthy,
            _ => Word::Stale,
        };
        Self { word, counts, oldest: rows.iter().filter_map(|row| row.stale_for).max(), cause: None }
    }

    /// The exact words.
    pub(super) fn words(&self) -> String {
        match self.word {
            Word::Stale => format!("cache stale ({})", self.counts.stale),
            word => format!("cache {}", word.as_str()),
        }
    }
}
