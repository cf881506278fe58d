//! The last things that happened, kept here so that every tab shows the same ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use cachefront::Timestamp;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;

use super::Panel;
use crate::domain::{Mode, ModeRow};

/// So many are kept.
const KEPT_MAX: usize = 60;

/// So many lags are kept: enough for a fair 99th percentile of what happened lately.
const LAGS_MAX: usize = 2_000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Happened {
    /// Counts from one; no two have the same.
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
}

/// A change as `/events` sends it.
#[derive(Deserialize)]
struct Change {
    op: String,
    keys: Vec<String>,
    position: String,
    lag_ms: Option<f64>,
}

/// What happened lately.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    kept: VecDeque<Happened>,
    lags: VecDeque<(Timestamp, f64)>,
}

impl Chronicle {
    fn note(&self, at: Timestamp, what: What) {
        let Ok(mut inner) = self.inner.lock() else { return };
        inner.number += 1;
        if let What::Change { lag_ms: Some(lag), applied: true, .. } = &what {
            inner.lags.push_back((at, *lag));
            if inner.lags.len() > LAGS_MAX {
                inner.lags.pop_front();
            }
        }
        let number = inner.number;
        inner.kept.push_front(Happened { number, at, what });
        inner.kept.truncate(KEPT_MAX);
    }

    pub(super) fn switched(&self, at: Timestamp, row: &ModeRow) {
        self.note(at, What::Mode { mode: row.mode, version: row.version });
    }

    /// The newest first.
    pub(super) fn latest(&self, count: usize) -> Vec<Happened> {
        self.inner.lock().map(|inner| inner.kept.iter().take(count).cloned().collect()).unwrap_or_default()
    }

    /// From commit to invalidation, in ms, of the changes since `since`, in ascending order.
    pub(super) fn lags_since(&self, since: Timestamp) -> Vec<f64> {
        let Ok(inner) = self.inner.lock() else { return Vec::new() };
        let recent = inner.lags.iter().rev().take_while(|(at, _)| *at >= since).map(|(_, lag)| *lag);
        let mut lags: Vec<f64> = recent.collect();
        lags.sort_unstable_by(f64::total_cmp);
        lags
    }
}

/// The value below which so many of a hundred lie; `sorted` is in ascending order.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

/// Writes down changes until the API ends, and has them looked at.
pub(super) async fn write(panel: Arc<Panel>) {
    let mut events = panel.api.events.subscribe();
    let mut modes = panel.api.modes.watch();
    loop {
        let received = tokio::select! {
            // A change that comes after a switch is shown after it.
            biased;
            () = panel.api.stop.cancelled() => return,
            Ok(()) = modes.changed() => {
                let row = modes.borrow_and_update().clone();
                let now = panel.api.pipeline.clock.now();
                panel.live.gauges.mark(now, row.mode.as_str().to_uppercase());
                panel.live.chronicle.switched(now, &row);
                panel.live.nudge();
                continue;
            }
            received = events.recv() => received,
        };
        match received {
            Ok(event) if event.name == "change" => {
                if let Ok(change) = serde_json::from_str::<Change>(&event.data) {
                    note(&panel, change);
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn note(panel: &Panel, change: Change) {
    let applied = panel.api.modes.current().mode == Mode::Cdc;
    if change.op == "delete" {
        change.keys.iter().filter_map(|key| user_id(key)).for_each(|id| panel.shelf.miss(id));
    }
    let Change { op, keys, position, lag_ms } = change;
    panel.live.chronicle.note(panel.api.pipeline.clock.now(), What::Change { op, keys, position, lag_ms, applied });
    panel.live.nudge();
}

/// The id in a key of the cache of users.
fn user_id(key: &str) -> Option<u64> {
    let (cache, id) = (key.split(':').next()?, key.rsplit(':').next()?);
    (cache == "users").then(|| id.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_what_is_there() {
        assert_eq!(percentile(&[], 99), None);
        assert_eq!(percentile(&[3.0], 99), Some(3.0));
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (Some(51.0), Some(100.0)));
    }

    #[test]
    fn the_id_of_a_key_is_found_and_other_caches_have_none() {
        assert_eq!(user_id("users:1:42"), Some(42));
        assert_eq!(user_id("users_by_email:1:42"), None);
    }
}
