//! How soon after a commit its keys are consistent: checks at fixed times, and what they found.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::inspect::compare::Target;
use crate::inspect::ledger::{Cause, Ledger, Standing};
use crate::key::StoreKey;
use crate::position::Position;

/// When the keys of a change are checked, counted from its commit.
pub const HORIZONS: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(300)];

/// A check that begins later than this is not counted: it would report a later moment as an earlier one.
pub(super) const CHECK_DELAY_MAX: Duration = Duration::from_millis(25);

/// How many changes were consistent at one of the [`HORIZONS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Convergence {
    /// Time since the commit.
    pub within: Duration,
    /// The cache held no value, or one that contains the change.
    pub consistent: u64,
    /// The cache held a value from before the change.
    pub inconsistent: u64,
    /// The key was changed again before it was checked: the newer change has checks of its own.
    pub superseded: u64,
    /// The check was late, or failed, or could not tell.
    pub undecided: u64,
}

impl Convergence {
    /// Returns the part of the decided checks that were consistent, from 0.0 to 1.0; `None` if there was none.
    pub fn ratio(&self) -> Option<f64> {
        let decided = self.consistent + self.inconsistent;
        (decided > 0).then(|| self.consistent as f64 / decided as f64)
    }
}

/// A check that found a value from before the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Miss {
    /// The key, as stored.
    #[serde(serialize_with = "key")]
    pub key: StoreKey,
    /// Time since the commit.
    pub within: Duration,
    /// The change that the value does not contain.
    pub cause: Cause,
}

fn key<S: Serializer>(key: &StoreKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.as_str())
}

/// A check to come: of one key, at one horizon after one change.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) target: Target,
    pub(super) cause: Cause,
    /// Index into [`HORIZONS`].
    pub(super) horizon: usize,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Consistent,
    Inconsistent,
    Superseded,
    Undecided,
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::Inconsistent => "inconsistent",
            Self::Superseded => "superseded",
            Self::Undecided => "undecided",
        }
    }
}

/// The checks to come, those that wait for the log, and the counts.
#[derive(Debug)]
pub(super) struct Checks {
    /// By the time they are due at, then by the order they were made in.
    due: BTreeMap<(Timestamp, u64), Check>,
    made: u64,
    /// Checks that found a difference, and the end of the log that must be read to judge it.
    open: Vec<(Check, Position)>,
    pub(super) counts: [Convergence; HORIZONS.len()],
    /// The newest last.
    pub(super) misses: VecDeque<Miss>,
    /// Changes of keys that were not checked, because too many checks were waiting.
    pub(super) unchecked: u64,
    checks_max: usize,
    misses_max: usize,
}

impl Checks {
    pub(super) fn new(checks_max: usize, misses_max: usize) -> Self {
        Self {
            due: BTreeMap::new(),
            made: 0,
            open: Vec::new(),
            counts: HORIZONS.map(|within| Convergence { within, ..Convergence::default() }),
            misses: VecDeque::new(),
            unchecked: 0,
            checks_max,
            misses_max,
        }
    }

    /// Plans the checks of a changed key.
    pub(super) fn plan(&mut self, target: &Target, cause: &Cause) {
        if self.due.len() + self.open.len() + HORIZONS.len() > self.checks_max {
            self.unchecked += 1;
            return;
        }
        for (horizon, within) in HORIZONS.into_iter().enumerate() {
            self.made += 1;
            let check = Check { target: target.clone(), cause: cause.clone(), horizon };
            self.due.insert((cause.committed_at.after(within), self.made), check);
        }
    }

    /// Returns when the next check is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(due, _)| *due)
    }

    /// Takes the checks that are due; the flag is true for one that is too late to count.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<(Check, bool)> {
        let mut due = Vec::new();
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            let late = now.since(first.key().0) > CHECK_DELAY_MAX;
            due.push((first.remove(), late));
        }
        due
    }

    /// Counts a check.
    pub(super) fn settle(&mut self, check: Check, outcome: Outcome) {
        let Some(counts) = self.counts.get_mut(check.horizon) else { return };
        match outcome {
            Outcome::Consistent => counts.consistent += 1,
            Outcome::Superseded => counts.superseded += 1,
            Outcome::Undecided => counts.undecided += 1,
            Outcome::Inconsistent => {
                counts.inconsistent += 1;
                if self.misses.len() >= self.misses_max {
                    self.misses.pop_front();
                }
                self.misses.push_back(Miss {
                    key: check.target.subject.key,
                    within: counts.within,
                    cause: check.cause,
                });
            }
        }
    }

    /// Keeps a check that found a difference, until the log was read up to `head`.
    pub(super) fn suspend(&mut self, check: Check, head: Position) {
        self.open.push((check, head));
    }

    /// Takes the checks that can be judged now: a difference is the fault of the key's newest change only.
    pub(super) fn take_judged(&mut self, ledger: &Ledger) -> Vec<(Check, Outcome)> {
        let mut judged = Vec::new();
        self.open.retain(|(check, head)| {
            let outcome = match ledger.standing(&check.target.subject.key, head) {
                Standing::Behind => return true,
                Standing::Changed(newest, _) if newest.gtid == check.cause.gtid => Outcome::Inconsistent,
                Standing::Changed(..) => Outcome::Superseded,
                Standing::Unchanged(_) => Outcome::Undecided,
            };
            judged.push((check.clone(), outcome));
            false
        });
        judged
    }

    /// Takes every check: the log is no longer followed, and whether a key was changed again is not known.
    pub(super) fn take_all(&mut self) -> Vec<Check> {
        let open = std::mem::take(&mut self.open).into_iter().map(|(check, _)| check);
        std::mem::take(&mut self.due).into_values().chain(open).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::watch::Subject;
    use crate::position::Gtid;

    fn cause(number: u64) -> Cause {
        let gtid = Gtid { origin: "a".into(), number };
        Cause { gtid, table: "shop.row".into(), operation: "update", committed_at: Timestamp::from_micros(number) }
    }

    /// A difference that was found before the log was read: the log shows another change of the key, which has checks of its own.
    #[test]
    fn a_difference_counts_against_the_newest_change_only() {
        let key = StoreKey::encode("row", &1_u64).expect("a key");
        let target = Target { watch: 0, subject: Subject::of(key.clone()) };
        let head: Position = "a:1-7".parse().expect("a position");
        let mut ledger = Ledger::new(10);
        ledger.begin(Position::new());
        ledger.record(&key, cause(6));
        let mut checks = Checks::new(100, 10);
        for number in [6, 7] {
            checks.suspend(Check { target: target.clone(), cause: cause(number), horizon: 0 }, head.clone());
        }
        assert!(checks.take_judged(&ledger).is_empty(), "the log was not read up to there");
        ledger.record(&key, cause(7));
        ledger.advance(&head);
        let judged: Vec<_> = checks
            .take_judged(&ledger)
            .into_iter()
            .map(|(check, outcome)| (check.cause.gtid.number, outcome))
            .collect();
        assert_eq!(judged, [(6, Outcome::Superseded), (7, Outcome::Inconsistent)]);
    }
}
