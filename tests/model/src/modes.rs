//! The mode changes from CDC to TTL and back: only what CDC mode promises is judged.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    /// Entering CDC mode begins a new generation.
    pub flushes: bool,
    /// An entry of TTL mode is a miss in CDC mode.
    pub own_entries: bool,
}

impl Default for Modes {
    fn default() -> Self {
        Self { flushes: true, own_entries: true }
    }
}

/// Commits of the model.
const COMMITS: u8 = 2;

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    committed: u8,
    /// True in CDC mode.
    cdc: bool,
    switches: u8,
    generation: u8,
    applied: u8,
    /// The value plus one, the mode that it was stored in, its generation.
    entry: u8,
    by_log: bool,
    of: u8,
    token: u8,
    /// Two readers: step, loads left, value, 1 if it believes in CDC mode, generation.
    readers: [[u8; 5]; 2],
}

impl Machine for Modes {
    type State = State;

    fn start(&self) -> State {
        State { generation: 1, readers: [[0, 2, 0, 0, 0]; 2], ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let mut push = |what, next| steps.push(Step::new(what, [0; 2], next));
        if state.committed < COMMITS {
            push("a commit", State { committed: state.committed + 1, ..*state });
        }
        if state.switches < 3 {
            let mut next = State { switches: state.switches + 1, cdc: !state.cdc, ..*state };
            if next.cdc {
                next.applied = state.committed;
                next.generation += u8::from(self.flushes);
            }
            push("the mode changes", next);
        }
        if state.cdc && state.applied < state.committed {
            push("a commit is applied", State { applied: state.applied + 1, entry: 0, token: 0, ..*state });
        }
        for (index, [step, left, value, by_log, generation]) in state.readers.into_iter().enumerate() {
            let token = 1 + index as u8 * 4 + left;
            let mut next = *state;
            match step {
                0 if left > 0 => {
                    // A process may still believe in the former mode.
                    next.readers[index] = [1, left, 0, 0, state.generation];
                    push("a reader misses in TTL mode", next);
                    if state.token == 0 {
                        next.token = token;
                        next.readers[index] = [1, left, 0, 1, state.generation];
                        push("a reader misses in CDC mode", next);
                    }
                }
                1 => {
                    next.readers[index] = [2, left, state.committed, by_log, generation];
                    push("a reader selects", next);
                }
                2 => {
                    if by_log == 0 || state.token == token {
                        (next.entry, next.by_log, next.of, next.token) = (value + 1, by_log == 1, generation, 0);
                    }
                    next.readers[index] = [0, left - 1, 0, 0, 0];
                    push("a fill", next);
                }
                _ => {}
            }
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        let rests = state.cdc && state.committed == COMMITS && state.applied == COMMITS;
        let idle = state.readers.iter().all(|reader| reader[0] == 0);
        let served = state.entry > 0 && state.of == state.generation && (state.by_log || !self.own_entries);
        (rests && idle && served && state.entry - 1 < COMMITS).then_some("E")
    }
}
