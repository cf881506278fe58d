//! Decides whether a read was certainly stale.
//!
//! A read is stale if it *started* after the response to a write, and the value that it returned was certainly replaced
//! by that write: the response to the write of the returned value arrived before the newer write was sent. Overlapping
//! writes have no known order, and a write without a response may or may not have happened: neither makes a read stale.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of writes remembered per row; values of older writes are not judged.
const WRITES_MAX: usize = 65_536;

/// Verdict on a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Fresh,
    /// The read started this long after the response to the write that replaced its value.
    Stale(Duration),
    /// The value is unknown to this run: another program wrote it, or its write got no response.
    Unknown,
}

/// A write that got a response.
#[derive(Clone, Copy, Debug)]
struct Answered {
    version: u64,
    sent: Instant,
    answered: Instant,
}

/// The writes of one row that got a response, ordered by the time of the response.
#[derive(Debug, Default)]
struct Writes {
    order: VecDeque<Answered>,
    by_version: HashMap<u64, Instant>,
    /// True once a write was forgotten: then the value from before the run is not judged either.
    forgot: bool,
}

/// The writes of a run to its rows.
#[derive(Debug)]
pub(super) struct History {
    /// Prefix of every value that this run writes.
    tag: String,
    began: Instant,
    /// The value of each row when the run began.
    before: Vec<String>,
    rows: Vec<Mutex<Writes>>,
}

impl History {
    /// Creates the history of rows that hold the values `before` now.
    pub(super) fn new(run: u32, before: Vec<String>) -> Self {
        let rows = before.iter().map(|_| Mutex::default()).collect();
        Self { tag: format!("load {run:08x} "), began: Instant::now(), before, rows }
    }

    /// Returns the value that write number `version` stores in a row.
    pub(super) fn value(&self, version: u64) -> String {
        format!("{}{version}", self.tag)
    }

    /// Records the response to a write.
    pub(super) fn answered(&self, row: usize, version: u64, sent: Instant, answered: Instant) {
        let Some(writes) = self.rows.get(row) else { return };
        let mut writes = writes.lock().unwrap_or_else(PoisonError::into_inner);
        // Responses are recorded almost in order.
        let place = writes.order.iter().rposition(|other| other.answered <= answered).map_or(0, |before| before + 1);
        writes.order.insert(place, Answered { version, sent, answered });
        writes.by_version.insert(version, answered);
        if writes.order.len() > WRITES_MAX
            && let Some(oldest) = writes.order.pop_front()
        {
            writes.by_version.remove(&oldest.version);
            writes.forgot = true;
        }
    }

    /// Judges a read of `row` that was sent at `started` and returned `value`.
    pub(super) fn judge(&self, row: usize, started: Instant, value: &str) -> Judgement {
        let Some((writes, before)) = self.rows.get(row).zip(self.before.get(row)) else { return Judgement::Unknown };
        let writes = writes.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match value.strip_prefix(&self.tag).and_then(|version| version.parse::<u64>().ok()) {
            Some(version) => writes.by_version.get(&version).copied(),
            None if value == before && !writes.forgot => Some(self.began),
            None => None,
        };
        let Some(written) = written else { return Judgement::Unknown };
        // The first response in order gives the longest time for which the value was certainly replaced.
        let later = writes.order.partition_point(|write| write.answered <= written);
        let replaced = writes.order.range(later..).find(|write| write.sent > written);
        match replaced {
            Some(write) if write.answered < started => Judgement::Stale(started.duration_since(write.answered)),
            _ => Judgement::Fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a history of one row, and a function from ms after its start to moments.
    fn history() -> (History, impl Fn(u64) -> Instant) {
        let history = History::new(7, vec!["before".to_owned()]);
        let began = history.began;
        (history, move |ms| began + Duration::from_millis(ms))
    }

    #[test]
    fn an_older_value_after_the_answer_is_stale_and_by_how_much() {
        let (history, at) = history();
        history.answered(0, 1, at(10), at(20));
        history.answered(0, 2, at(30), at(40));
        let judge = |started, value: &str| history.judge(0, at(started), value);
        assert_eq!(judge(50, "before"), Judgement::Stale(Duration::from_millis(30)));
        assert_eq!(judge(50, &history.value(1)), Judgement::Stale(Duration::from_millis(10)));
        assert_eq!(judge(50, &history.value(2)), Judgement::Fresh);
    }

    #[test]
    fn a_read_that_started_before_the_answer_is_not_accused() {
        let (history, at) = history();
        history.answered(0, 1, at(10), at(20));
        assert_eq!(history.judge(0, at(15), "before"), Judgement::Fresh);
        assert_eq!(history.judge(0, at(20), "before"), Judgement::Fresh);
        assert_eq!(history.judge(0, at(5), &history.value(1)), Judgement::Fresh);
    }

    #[test]
    fn overlapping_writes_have_no_order() {
        let (history, at) = history();
        history.answered(0, 2, at(15), at(18));
        history.answered(0, 1, at(10), at(20));
        assert_eq!(history.judge(0, at(30), &history.value(1)), Judgement::Fresh);
        assert_eq!(history.judge(0, at(30), &history.value(2)), Judgement::Fresh);
        assert_eq!(history.judge(0, at(30), "before"), Judgement::Stale(Duration::from_millis(12)));
        // The third write comes after both.
        history.answered(0, 3, at(40), at(50));
        assert_eq!(history.judge(0, at(60), &history.value(2)), Judgement::Stale(Duration::from_millis(10)));
    }

    #[test]
    fn responses_may_be_recorded_out_of_order() {
        let (history, at) = history();
        history.answered(0, 2, at(30), at(40));
        history.answered(0, 1, at(10), at(20));
        assert_eq!(history.judge(0, at(60), "before"), Judgement::Stale(Duration::from_millis(40)));
    }

    #[test]
    fn values_of_others_and_of_unanswered_writes_are_not_judged() {
        let (history, at) = history();
        history.answered(0, 1, at(10), at(20));
        for value in [history.value(2).as_str(), "by hand", "load 00000008 1", ""] {
            assert_eq!(history.judge(0, at(30), value), Judgement::Unknown, "{value}");
        }
        assert_eq!(history.judge(1, at(30), "before"), Judgement::Unknown);
    }
}
