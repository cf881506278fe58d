//! How soon after a commit its keys are consistent: checks at fixed times, and what they found.
//!
//! A check must not report a later moment as an earlier one, and not the state of another server as the cache's. What it cannot say
//! is undecided:
//!
//! | what happened | counted as |
//! |---|---|
//! | the entry is gone, equals its row, or was loaded after the change | consistent, if the entry was read in time |
//! | the entry differs from its row, and no other change of the key was committed meanwhile | inconsistent, if it was read in time |
//! | the key was changed again | superseded |
//! | the check began late, because those before it took long | undecided, without a load |
//! | the row is that of a replica that may lack the change | undecided |
//! | the load failed, or the inspector was paused meanwhile | undecided |

use std::collections::btree_map::OccupiedEntry;
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

/// A check whose entry is read later than this is not counted: it would report a later moment as an earlier one.
const CHECK_DELAY_MAX: Duration = Duration::from_millis(25);

/// The first horizon of a change whose log has whole seconds only: it does not show what is earlier.
const COARSE_HORIZON_MIN: Duration = Duration::from_secs(5);

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
    /// The check was late, or failed, or could not tell: a row that was read from a replica may not have the change yet.
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
    due: Timestamp,
}

impl Check {
    /// Returns true if what is found at `now` is not counted.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        now.since(self.due) > CHECK_DELAY_MAX
    }
}

/// The time that the horizons of a change are counted from, and which of them it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    at: Timestamp,
    /// The log says in which second it was committed, and no more.
    coarse: bool,
}

impl Start {
    /// Of a change that was committed at `committed_at`, as far as the log says, and read at `now`.
    ///
    /// A time in whole seconds is one that was cut off: of a log with microseconds, one change in a million is taken for such.
    pub(super) fn of(committed_at: Timestamp, now: Timestamp) -> Self {
        if !committed_at.is_known() {
            return Self { at: now, coarse: false };
        }
        // No commit is later than its receipt: the server's clock is ahead, or the session has set the time.
        Self { at: committed_at.min(now), coarse: committed_at.as_micros().is_multiple_of(1_000_000) }
    }

    /// The indices of the horizons, and when they are over.
    fn ends(self) -> impl Iterator<Item = (usize, Timestamp)> {
        let known =
            HORIZONS.into_iter().enumerate().filter(move |(_, within)| !self.coarse || *within >= COARSE_HORIZON_MIN);
        known.map(move |(horizon, within)| (horizon, self.at.after(within)))
    }
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
    pub(super) fn plan(&mut self, target: &Target, cause: &Cause, start: Start) {
        if self.due.len() + self.open.len() + HORIZONS.len() > self.checks_max {
            self.unchecked += 1;
            return;
        }
        for (horizon, due) in start.ends() {
            self.made += 1;
            let check = Check { target: target.clone(), cause: cause.clone(), horizon, due };
            self.due.insert((due, self.made), check);
        }
    }

    /// Returns when the next check is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(due, _)| *due)
    }

    /// Takes the first check that is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Check> {
        self.due.first_entry().filter(|first| first.key().0 <= now).map(OccupiedEntry::remove)
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
            let due = Timestamp::UNKNOWN;
            checks.suspend(Check { target: target.clone(), cause: cause(number), horizon: 0, due }, head.clone());
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

    /// The times from the receipt to the checks of a change. Both times are in microseconds since the epoch.
    fn checked_after(committed_at: u64, received_at: u64) -> Vec<Duration> {
        let [committed_at, now] = [committed_at, received_at].map(Timestamp::from_micros);
        let key = StoreKey::encode("row", &1_u64).expect("a key");
        let mut checks = Checks::new(100, 10);
        checks.plan(&Target { watch: 0, subject: Subject::of(key) }, &cause(1), Start::of(committed_at, now));
        checks.take_all().iter().map(|check| check.due.since(now)).collect()
    }

    #[test]
    fn a_commit_of_the_future_is_checked_from_its_receipt() {
        let received_at = 1_700_000_000_250_000;
        assert_eq!(checked_after(received_at + 2_000_001, received_at), HORIZONS);
        assert_eq!(checked_after(0, received_at), HORIZONS, "when it was committed is not known");
        assert_eq!(checked_after(received_at - 10_000, received_at)[1], Duration::from_millis(990));
    }

    #[test]
    fn a_time_in_whole_seconds_has_no_short_horizon() {
        let second = 1_700_000_000_000_000;
        let checked = checked_after(second, second + 980_000);
        assert_eq!(checked, [5_000, 300_000].map(|millis| Duration::from_millis(millis - 980)));
    }
}
