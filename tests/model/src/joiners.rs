//! Readers that join a load in progress, in one process: which of them may take its value.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Joiners {
    /// A refused value belongs to the reader that began the load.
    pub refused_is_the_leaders: bool,
    /// No reader joins once the fill is sent.
    pub sealed: bool,
    /// The store accepts a fill under its lease only.
    pub lease: bool,
}

impl Default for Joiners {
    fn default() -> Self {
        Self { refused_is_the_leaders: true, sealed: true, lease: true }
    }
}

/// Commits of the model, all of one row.
const COMMITS: u8 = 2;

/// Readers of the model.
const READERS: usize = 3;

/// A reader: 0 has not begun, 1 waits for the flight, 2 leads it, 3 has its value.
type Reader = [u8; 2];

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    committed: u8,
    /// Commits whose invalidation was acknowledged.
    invalidated: u8,
    /// The value plus one, and whether a lease is there.
    entry: u8,
    leased: bool,
    /// The flight: 0 none, 1 leased, 2 loaded, 3 the fill is sent; its value; 1 if the store accepted it.
    flight: [u8; 3],
    /// Each reader's step, and what was invalidated when it began.
    readers: [Reader; READERS],
    wrong: bool,
}

impl Joiners {
    /// A flight ends: its leader takes the value, those that may do so too, and the others begin again.
    fn end(&self, state: &State) -> State {
        let [_, value, stored] = state.flight;
        let mut next = State { flight: [0; 3], ..*state };
        for reader in &mut next.readers {
            let [step, invalidated] = *reader;
            let takes = step == 2 || (step == 1 && (stored == 1 || !self.refused_is_the_leaders));
            if takes {
                next.wrong |= value < invalidated;
                *reader = [3, 0];
            } else if step == 1 {
                *reader = [0, invalidated];
            }
        }
        next
    }

    fn reader(&self, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
        let [step, before] = state.readers[index];
        if step != 0 {
            return;
        }
        // A reader that begins again still must not see less than at its beginning.
        let must = before.max(state.invalidated);
        let mut next = *state;
        let what = match state.flight[0] {
            _ if state.entry > 0 => {
                next.wrong |= state.entry - 1 < must;
                next.readers[index] = [3, 0];
                "a reader gets the entry"
            }
            0 => {
                (next.flight, next.leased) = ([1, 0, 0], true);
                next.readers[index] = [2, must];
                "a reader leads a load"
            }
            3 if self.sealed => return,
            _ => {
                next.readers[index] = [1, must];
                "a reader joins"
            }
        };
        steps.push(Step::new(what, [index as u8, 0], next));
    }
}

impl Machine for Joiners {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let mut step = |what, next| steps.push(Step::new(what, [0; 2], next));
        if state.committed < COMMITS {
            step("a commit", State { committed: state.committed + 1, ..*state });
        }
        if state.invalidated < state.committed {
            step("an invalidation", State { invalidated: state.invalidated + 1, entry: 0, leased: false, ..*state });
        }
        match state.flight {
            [1, ..] => step("the leader selects", State { flight: [2, state.committed, 0], ..*state }),
            [2, value, _] => {
                let stored = state.leased || !self.lease;
                let mut next = State { flight: [3, value, u8::from(stored)], leased: false, ..*state };
                if stored {
                    next.entry = value + 1;
                }
                step("the store handles the fill", next);
            }
            [3, ..] => step("the flight ends", self.end(state)),
            _ => {}
        }
        for index in 0..READERS {
            self.reader(state, index, steps);
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        let stale =
            state.invalidated == COMMITS && state.flight[0] == 0 && state.entry > 0 && state.entry - 1 < COMMITS;
        if state.wrong { Some("E'") } else { stale.then_some("E") }
    }
}
