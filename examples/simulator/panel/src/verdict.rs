//! The verdict: whether the cache as a whole is healthy.

use std::time::Duration;

use simulator_model::inspector::{self, Consistency};

use super::rows::{State, UserRow};

/// The verdict in one word.
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

/// Number of entries in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) healthy: usize,
    pub(super) stale: usize,
    pub(super) absent: usize,
    pub(super) negative: usize,
}

/// The verdict on all entries that were checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) word: Word,
    pub(super) counts: Counts,
    /// How long the oldest stale entry has been stale.
    pub(super) oldest: Option<Duration>,
    /// Why the verdict is unknown, or where stale entries are held.
    pub(super) cause: Option<String>,
    /// Number of entries that were compared with their rows.
    pub(super) compared: u64,
    /// False if there are more users than a pass reads: only a sample was compared.
    pub(super) complete: bool,
    /// The verdict as it is shown.
    pub(super) words: String,
    /// Number of entries that differ from their rows.
    pub(super) stale: u64,
}

impl Verdict {
    pub(super) fn unknown(cause: impl Into<String>) -> Self {
        let (counts, cause) = (Counts::default(), Some(cause.into()));
        let words = "cache unknown".into();
        Self { word: Word::Unknown, counts, oldest: None, cause, compared: 0, complete: false, words, stale: 0 }
    }

    /// Combines the inspector's verdict with the states of the shown rows and the age of the oldest stale entry.
    pub(super) fn of(said: &Consistency, rows: &[UserRow], oldest: Option<Duration>) -> Self {
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
        Self {
            word,
            counts,
            oldest,
            cause: said.cause.clone(),
            compared: said.compared,
            complete: said.complete,
            words: said.words(),
            stale: said.stale,
        }
    }

    /// Returns the worse of this verdict and what another process reports about its own tier. A stale entry of either
    /// is proof, whatever the other reports; health is not proven while one of them is silent.
    pub(super) fn combined_with(self, other: &Result<Consistency, String>) -> Self {
        if self.word == Word::Stale {
            return self;
        }
        match other {
            Err(cause) => Self { counts: self.counts, ..Self::unknown(cause) },
            Ok(said) if said.verdict == inspector::Verdict::Stale => Self {
                word: Word::Stale,
                words: said.words(),
                stale: said.stale,
                compared: said.compared,
                complete: said.complete,
                cause: Some("held by the processes of the API".into()),
                ..self
            },
            Ok(said) if said.verdict == inspector::Verdict::Unknown => {
                let cause = said.cause.as_deref().unwrap_or("it does not say why");
                Self {
                    counts: self.counts,
                    ..Self::unknown(format!("The API knows nothing of its own tier: {cause}."))
                }
            }
            // Entries that only the API's processes hold are cached, too.
            Ok(said) if self.word == Word::Empty && said.verdict == inspector::Verdict::Healthy => Self {
                word: Word::Healthy,
                words: said.words(),
                compared: said.compared,
                complete: said.complete,
                ..self
            },
            Ok(_) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use simulator_model::domain::Mode;

    use super::*;

    fn said(verdict: inspector::Verdict, stale: u64) -> Consistency {
        Consistency {
            verdict,
            as_of: String::new(),
            mode: Mode::Ttl,
            cause: None,
            users: 1,
            compared: 1,
            complete: true,
            stale,
            aging: stale,
            late: 0,
            lost: 0,
            mapping: 0,
            entries: Vec::new(),
            all: Arc::default(),
        }
    }

    #[test]
    fn the_worse_of_two_processes_is_shown_and_silence_is_no_health() {
        let verdict = |verdict, stale| Verdict::of(&said(verdict, stale), &[], None);
        let healthy = || verdict(inspector::Verdict::Healthy, 0);
        let silent = Err("The API does not respond.".to_owned());
        assert_eq!(healthy().combined_with(&silent).word, Word::Unknown);
        assert_eq!(verdict(inspector::Verdict::Stale, 2).combined_with(&silent).words, "cache stale (2)");
        let stale = Ok(said(inspector::Verdict::Stale, 3));
        assert_eq!(healthy().combined_with(&stale).words, "cache stale (3)");
        let healthy_there = Ok(said(inspector::Verdict::Healthy, 0));
        assert_eq!(verdict(inspector::Verdict::Empty, 0).combined_with(&healthy_there).word, Word::Healthy);
        assert_eq!(healthy().combined_with(&Ok(said(inspector::Verdict::Empty, 0))).word, Word::Healthy);
    }
}
