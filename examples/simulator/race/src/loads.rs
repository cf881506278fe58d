//! What loads have read and what became of it; and the fault that holds a load after its read.

use cachefront::{CacheObserver, LoadReport, ReadOutcome};

use crate::watched::Watched;

/// What became of a loaded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The cache has it.
    Stored,
    /// It was returned to its reader, and the cache did not take it.
    Refused,
    /// The load failed.
    Failed,
}

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// The reader that was started last when the row was read.
    pub(crate) reader: char,
    /// The name that was read.
    pub(crate) name: &'static str,
    /// True while the fault holds it.
    pub(crate) held: bool,
    /// True if the server that was read had not executed the load's fence.
    pub(crate) behind: bool,
    /// `None` until the cache has decided.
    pub(crate) fate: Option<Fate>,
}

/// All loads of a world.
#[derive(Debug)]
pub(crate) struct Loads(Watched<State>);

#[derive(Debug)]
struct State {
    /// True if the next load is to be held after its read.
    hold_next: bool,
    reader: char,
    /// Number of lookups that found no value.
    misses: u64,
    list: Vec<Load>,
}

impl Default for Loads {
    fn default() -> Self {
        Self(Watched::new(State { hold_next: false, reader: ' ', misses: 0, list: Vec::new() }))
    }
}

impl Loads {
    /// Names the reader that is started now. `hold` switches the fault on for its load.
    pub(crate) fn begin(&self, reader: char, hold: bool) {
        self.0.change(|state| (state.reader, state.hold_next) = (reader, hold));
    }

    /// Records that a load has read the row, and returns its place in the list, once the fault does not hold it.
    pub(crate) async fn read(&self, name: &'static str, behind: bool) -> usize {
        let place = self.0.change(|state| {
            let held = std::mem::take(&mut state.hold_next);
            state.list.push(Load { reader: state.reader, name, held, behind, fate: None });
            state.list.len() - 1
        });
        let mut changes = self.0.changes();
        while self.0.lock().list.get(place).is_some_and(|load| load.held) {
            // Cannot fail: this value has the sender.
            let _ = changes.changed().await;
        }
        place
    }

    /// Lets every load go on.
    pub(crate) fn release(&self) {
        self.0.change(|state| {
            state.hold_next = false;
            for load in &mut state.list {
                load.held = false;
            }
        });
    }

    /// Records what became of the load at `place`.
    pub(crate) fn end(&self, place: usize, fate: Fate) {
        self.0.change(|state| {
            if let Some(load) = state.list.get_mut(place) {
                load.fate = Some(fate);
            }
        });
    }

    /// Counts a lookup that found no value: its reader loads, or waits for a load.
    pub(crate) fn note_miss(&self) {
        self.0.change(|state| state.misses += 1);
    }

    pub(crate) fn misses(&self) -> u64 {
        self.0.lock().misses
    }

    pub(crate) fn list(&self) -> Vec<Load> {
        self.0.lock().list.clone()
    }

    /// Returns true if a load of this reader is held.
    pub(crate) fn holds(&self, reader: char) -> bool {
        self.0.lock().list.iter().any(|load| load.reader == reader && load.held)
    }
}

/// The library reports the end of each load by its key: the oldest load that is not held and has no end yet.
impl CacheObserver<u64> for Loads {
    fn read(&self, _key: &u64, outcome: ReadOutcome) {
        if !matches!(outcome, ReadOutcome::Hit(_)) {
            self.note_miss();
        }
    }

    fn loaded(&self, _key: &u64, report: &LoadReport) {
        let fate = match (&report.error, report.stored) {
            (Some(_), _) => Fate::Failed,
            (None, true) => Fate::Stored,
            (None, false) => Fate::Refused,
        };
        self.0.change(|state| {
            if let Some(load) = state.list.iter_mut().find(|load| !load.held && load.fate.is_none()) {
                load.fate = Some(fate);
            }
        });
    }
}
