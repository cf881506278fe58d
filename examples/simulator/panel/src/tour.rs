//! The two demo scenarios, step by step, measured as they happen.

pub(super) mod pace;
mod pauses;
pub(super) mod script;

use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::pace::Pace;

/// Which demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scenario {
    Ttl,
    Cdc,
    /// Not a demo: ends the running one.
    Stop,
}

impl Scenario {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Cdc => "cdc",
            Self::Stop => "stop",
        }
    }
}

/// The progress of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Progress {
    #[default]
    Waiting,
    Now,
    Done,
    Failed,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) words: String,
    pub(super) progress: Progress,
    /// What was measured, or why it failed.
    pub(super) note: String,
}

/// The running demo, or the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TourView {
    pub(super) scenario: Option<Scenario>,
    pub(super) user: Option<u64>,
    pub(super) running: bool,
    pub(super) steps: Vec<Step>,
    /// The remaining time of the current step, if it is known.
    pub(super) left: Option<Duration>,
    pub(super) pace: Pace,
    /// The step, counted from zero, before which the demo pauses.
    pub(super) waits: Option<usize>,
}

impl TourView {
    /// A demo that has not begun.
    pub(super) fn of(scenario: Scenario) -> Self {
        let words: &[&str] = match scenario {
            Scenario::Ttl => &[
                "Switch to TTL mode",
                "Read a user: now cached",
                "Change its name in the database",
                "Read again: the old name, stale",
                "It expires: the next read is fresh",
            ],
            Scenario::Cdc | Scenario::Stop => &[
                "Switch to CDC mode",
                "Read a user: now cached",
                "Change its name in the database",
                "The commit invalidates the key",
                "The next read is fresh: healthy",
            ],
        };
        let step = |words: &&str| Step { words: (*words).to_owned(), progress: Progress::Waiting, note: String::new() };
        let steps = words.iter().map(step).collect();
        Self { scenario: Some(scenario), steps, ..Self::default() }
    }

    /// Returns the number of the current step, counted from one.
    pub(super) fn at(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.progress == Progress::Now).map(|at| at + 1)
    }

    pub(super) fn failed(&self) -> bool {
        self.steps.iter().any(|step| step.progress == Progress::Failed)
    }
}

/// Runs one demo at a time.
#[derive(Debug, Default)]
pub(super) struct Tour {
    view: watch::Sender<TourView>,
    task: Mutex<Option<AbortHandle>>,
}

impl Tour {
    pub(super) fn view(&self) -> TourView {
        self.view.borrow().clone()
    }

    pub(super) fn follow(&self) -> watch::Receiver<TourView> {
        self.view.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut TourView)) {
        self.view.send_modify(change);
    }
}
