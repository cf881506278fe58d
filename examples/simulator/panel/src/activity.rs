//! The activity log: the last things that happened, kept here so that every tab shows the same ones.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use cachefront::Timestamp;
use simulator_model::domain::{Mode, ModeRow};

/// Number of entries that a page shows. Of each second only this many are kept, the newest: the page of every second of the past has
/// all of its entries.
pub(super) const SHOWN_MAX: usize = 14;

/// How far back the past reaches: how long entries are kept.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(600);

/// Maximum number of entries, with about 500 bytes each: those of every second of [`KEPT_FOR`].
const KEPT_MAX: usize = KEPT_FOR.as_secs() as usize * SHOWN_MAX;

/// Maximum number of lags: enough for a meaningful 99th percentile of recent changes.
const LAGS_MAX: usize = 2_000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ActivityEntry {
    /// Unique number, counted from one.
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A row changed.
    Change { op: String, keys: Vec<String>, position: String, lag_ms: Option<f64>, applied: bool },
    /// The mode changed.
    Mode { mode: Mode, version: u64 },
    /// A fault was switched on or off.
    Fault { words: &'static str, on: bool },
    /// A user pressed a button that changes no row.
    Pressed(String),
}

/// What happened recently.
#[derive(Debug, Default)]
pub(super) struct ActivityLog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    kept: VecDeque<ActivityEntry>,
    lags: VecDeque<(Timestamp, f64)>,
}

impl ActivityLog {
    pub(super) fn note(&self, at: Timestamp, what: What) {
        let Ok(mut inner) = self.inner.lock() else { return };
        inner.number += 1;
        if let What::Change { lag_ms: Some(lag), applied: true, .. } = &what {
            inner.lags.push_back((at, *lag));
            if inner.lags.len() > LAGS_MAX {
                inner.lags.pop_front();
            }
        }
        let number = inner.number;
        inner.kept.push_front(ActivityEntry { number, at, what });
        let second = |entry: &ActivityEntry| entry.at.as_millis() / 1_000;
        let of_this_second = inner.kept.iter().take_while(|entry| second(entry) == at.as_millis() / 1_000).count();
        if of_this_second > SHOWN_MAX {
            inner.kept.remove(of_this_second - 1);
        }
        while inner.kept.len() > SHOWN_MAX && inner.kept.back().is_some_and(|last| at.since(last.at) > KEPT_FOR) {
            inner.kept.pop_back();
        }
        inner.kept.truncate(KEPT_MAX);
    }

    pub(super) fn switched(&self, at: Timestamp, row: &ModeRow) {
        self.note(at, What::Mode { mode: row.mode, version: row.version });
    }

    /// Records an action of a user of this panel that causes no event.
    pub(super) fn pressed(&self, at: Timestamp, words: impl Into<String>) {
        self.note(at, What::Pressed(words.into()));
    }

    /// Returns the last entries, newest first.
    pub(super) fn latest(&self, count: usize) -> Vec<ActivityEntry> {
        self.inner.lock().map(|inner| inner.kept.iter().take(count).cloned().collect()).unwrap_or_default()
    }

    /// Returns the last entries at a moment of the past, newest first.
    pub(super) fn before(&self, at: Timestamp, count: usize) -> Vec<ActivityEntry> {
        let Ok(inner) = self.inner.lock() else { return Vec::new() };
        inner.kept.iter().filter(|entry| entry.at <= at).take(count).cloned().collect()
    }

    /// Returns the lags from commit to invalidation of the changes since `since`, in ms and in ascending order.
    pub(super) fn lags_since(&self, since: Timestamp) -> Vec<f64> {
        let Ok(inner) = self.inner.lock() else { return Vec::new() };
        let recent = inner.lags.iter().rev().take_while(|(at, _)| *at >= since).map(|(_, lag)| *lag);
        let mut lags: Vec<f64> = recent.collect();
        lags.sort_unstable_by(f64::total_cmp);
        lags
    }
}

/// Returns a percentile of values in ascending order, `None` if there are none.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_keeps_what_a_page_of_it_shows() {
        let log = ActivityLog::default();
        let at = |millis: u64| Timestamp::from_micros(millis * 1_000);
        for number in 0..1_000 {
            log.pressed(at(5_000 + number / 2), format!("{number}"));
        }
        log.pressed(at(7_000), "later");
        let words =
            |entries: Vec<ActivityEntry>| -> Vec<What> { entries.into_iter().map(|entry| entry.what).collect() };
        let expected: Vec<What> = (986..1_000).rev().map(|number| What::Pressed(number.to_string())).collect();
        assert_eq!(words(log.before(at(6_999), SHOWN_MAX)), expected);
        assert_eq!(words(log.latest(1)), [What::Pressed("later".into())]);
        assert_eq!(log.latest(usize::MAX).len(), SHOWN_MAX + 1);
        for second in 8..700 {
            log.pressed(at(second * 1_000), "tick");
        }
        assert_eq!(log.latest(usize::MAX).len(), 601, "those of the last ten minutes");
        assert_eq!(log.before(at(6_999), 1), []);
    }

    #[test]
    fn percentiles_are_taken_from_what_is_there() {
        assert_eq!(percentile(&[], 99), None);
        assert_eq!(percentile(&[3.0], 99), Some(3.0));
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (Some(51.0), Some(100.0)));
    }
}
