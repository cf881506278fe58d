//! The last ten minutes, one record a second: the verdict, the mode and the faults as they were.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use cachefront::Timestamp;
use simulator_model::domain::Mode;

use super::activity::KEPT_FOR;
use super::moment::{AGE_MAX, Moment};
use super::verdict::Verdict;

/// Maximum number of records, with about 300 bytes each.
const KEPT_MAX: usize = KEPT_FOR.as_secs() as usize;

/// The shortest time between two records; a little below a second, so that the tick of every second counts.
const APART: Duration = Duration::from_millis(900);

/// What was known at a moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PastMoment {
    pub(super) at: Timestamp,
    pub(super) mode: Mode,
    pub(super) verdict: Verdict,
    /// The names of the faults that were on.
    pub(super) faults: Vec<&'static str>,
}

/// The records, the newest last. They are made while the panel is watched.
#[derive(Debug, Default)]
pub(super) struct Past(Mutex<VecDeque<PastMoment>>);

impl Past {
    /// Records what `moment` shows at `now`: at most once a second.
    pub(super) fn note(&self, now: Timestamp, moment: &Moment) {
        if !moment.at.is_known() {
            return;
        }
        self.record(PastMoment {
            at: now,
            mode: moment.mode.mode,
            verdict: moment.verdict.clone(),
            faults: moment.faults.active(),
        });
    }

    fn record(&self, record: PastMoment) {
        let Ok(mut kept) = self.0.lock() else { return };
        // A clock that was set back begins a new past.
        if kept.back().is_some_and(|last| last.at > record.at) {
            kept.clear();
        }
        if kept.back().is_some_and(|last| record.at.since(last.at) < APART) {
            return;
        }
        while kept.len() >= KEPT_MAX || kept.front().is_some_and(|first| record.at.since(first.at) > KEPT_FOR) {
            kept.pop_front();
        }
        kept.push_back(record);
    }

    /// Returns all records, the oldest first.
    pub(super) fn all(&self) -> Vec<PastMoment> {
        self.0.lock().map(|kept| kept.iter().cloned().collect()).unwrap_or_default()
    }

    /// Returns the record of a moment; `None` if nothing was recorded then.
    pub(super) fn at(&self, at: Timestamp) -> Option<PastMoment> {
        let kept = self.0.lock().ok()?;
        kept.iter().rev().find(|record| record.at <= at).filter(|record| at.since(record.at) <= AGE_MAX).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(second: u64, words: &str) -> PastMoment {
        let at = Timestamp::from_micros(second * 1_000_000);
        PastMoment { at, mode: Mode::Cdc, verdict: Verdict::unknown(words), faults: Vec::new() }
    }

    #[test]
    fn a_moment_has_the_last_record_before_it_and_a_gap_has_none() {
        let past = Past::default();
        for second in [10, 11, 12, 60] {
            past.record(record(second, &second.to_string()));
        }
        let of =
            |millis: u64| past.at(Timestamp::from_micros(millis * 1_000)).map(|record| record.at.as_millis() / 1_000);
        assert_eq!(
            [of(9_999), of(10_000), of(11_900), of(15_000), of(15_001), of(60_500)],
            [None, Some(10), Some(11), Some(12), None, Some(60)]
        );
    }

    #[test]
    fn one_record_a_second_is_kept_for_ten_minutes() {
        let past = Past::default();
        for tick in 0..8_000_u64 {
            let at = Timestamp::from_micros(1_000_000 + tick * 250_000);
            past.record(PastMoment { at, ..record(0, "tick") });
        }
        let kept = past.0.lock().expect("unpoisoned");
        assert_eq!(kept.len(), KEPT_MAX);
        let span = kept.back().expect("records").at.since(kept.front().expect("records").at);
        assert!(span <= KEPT_FOR && span >= KEPT_FOR - Duration::from_secs(2), "{span:?}");
    }
}
