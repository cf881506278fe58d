//! Two releases with invalidators and readers of their own: which caches the meta covers, and with which generation.
//!
//! Release 1 maps cache 0 (`users`), release 2 maps cache 1 (`users` under another mapping) and cache 2 (`orders`). Every
//! commit changes the one row of all of them.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Releases {
    /// A new holder drops the rows of caches that it does not map.
    pub drops: bool,
    /// A row that is added has a generation that was never used.
    pub fresh: bool,
    /// Entries are served and stored by the row of their own mapping, and not by a generation of the namespace.
    pub own_row: bool,
    /// A row that is added waits until what is applied is visible: loaders of its release may read another server.
    pub waits: bool,
    /// A former holder cannot write.
    pub fenced: bool,
}

impl Default for Releases {
    fn default() -> Self {
        Self { drops: true, fresh: true, own_row: true, waits: true, fenced: true }
    }
}

/// Commits of the model.
const COMMITS: u8 = 2;

/// The caches that each release maps.
const MAPS: [[bool; 3]; 2] = [[true, false, false], [false, true, true]];

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    committed: u8,
    /// Commits that loaders of release 2 can read.
    shown: u8,
    applied: u8,
    /// The release whose invalidator holds the term: 0 or 1; and whether the one before it goes on in ignorance.
    holder: u8,
    former_goes_on: bool,
    takeovers: u8,
    generations: u8,
    /// The generation of each cache's row; 0 if it is not covered.
    rows: [u8; 3],
    /// The value plus one, its generation, and whether a lease is there.
    entries: [[u8; 3]; 3],
    /// A load of each cache: step, value, generation, loads left.
    loads: [[u8; 4]; 3],
}

impl Releases {
    /// A batch is applied by the holder of the term, or by the former one.
    fn apply(&self, state: &State, release: u8, steps: &mut Vec<Step<State>>) {
        // Its gate waits for its own loaders' server.
        let visible = if release == 0 { state.committed } else { state.shown };
        if state.applied < visible {
            let mut next = *state;
            next.applied += 1;
            for (cache, entry) in next.entries.iter_mut().enumerate() {
                if MAPS[usize::from(release)][cache] {
                    *entry = [0; 3];
                }
            }
            steps.push(Step::new("a commit is applied by release", [next.applied, release], next));
        }
    }

    fn take_over(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let release = 1 - state.holder;
        if state.takeovers == 0 || (release == 1 && self.waits && state.shown < state.applied) {
            return;
        }
        let mut next = *state;
        (next.holder, next.takeovers, next.former_goes_on) = (release, state.takeovers - 1, !self.fenced);
        for (cache, mapped) in MAPS[usize::from(release)].into_iter().enumerate() {
            if mapped && state.rows[cache] == 0 {
                next.generations += u8::from(self.fresh);
                // The removed way: the generation that it would have had at first.
                next.rows[cache] = if self.fresh { next.generations } else { 1 };
            } else if !mapped && self.drops {
                next.rows[cache] = 0;
            }
        }
        steps.push(Step::new("the other release takes the term", [release, 0], next));
    }

    fn serves(&self, state: &State, cache: usize) -> bool {
        let [entry, generation, _] = state.entries[cache];
        let covered = if self.own_row { state.rows[cache] == generation } else { state.rows.contains(&generation) };
        entry > 0 && generation > 0 && covered
    }

    fn reader(&self, state: &State, cache: usize, steps: &mut Vec<Step<State>>) {
        let [step, value, generation, left] = state.loads[cache];
        let number = cache as u8;
        let mut next = *state;
        let row = if self.own_row { state.rows[cache] } else { state.rows.into_iter().max().unwrap_or_default() };
        match step {
            0 if left > 0 && row > 0 && !self.serves(state, cache) && state.entries[cache][2] == 0 => {
                next.entries[cache] = [0, 0, 1];
                next.loads[cache] = [1, 0, row, left];
                steps.push(Step::new("a lease", [number, row], next));
            }
            1 => {
                let shown = if cache == 0 { state.committed } else { state.shown };
                next.loads[cache] = [2, shown, generation, left];
                steps.push(Step::new("a reader selects", [number, shown], next));
            }
            2 => {
                if state.entries[cache][2] == 1 {
                    next.entries[cache] = if row == generation { [value + 1, generation, 0] } else { [0; 3] };
                }
                next.loads[cache] = [0, 0, 0, left - 1];
                steps.push(Step::new("a fill", [number, value], next));
            }
            _ => {}
        }
    }
}

impl Machine for Releases {
    type State = State;

    fn start(&self) -> State {
        let loads = [[0, 0, 0, 2]; 3];
        State { takeovers: 3, generations: 1, rows: [1, 0, 0], loads, ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        if state.committed < COMMITS {
            steps.push(Step::new("a commit", [0; 2], State { committed: state.committed + 1, ..*state }));
        }
        if state.shown < state.committed {
            steps.push(Step::new("it is visible for release 2", [0; 2], State { shown: state.shown + 1, ..*state }));
        }
        self.apply(state, state.holder, steps);
        if state.former_goes_on {
            self.apply(state, 1 - state.holder, steps);
        }
        self.take_over(state, steps);
        for cache in 0..3 {
            self.reader(state, cache, steps);
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        // One load at a time has a lease: an entry that is served must have what is applied.
        let lacks = |cache: usize| self.serves(state, cache) && state.entries[cache][0] - 1 < state.applied;
        (0..3).any(lacks).then_some("S")
    }
}
