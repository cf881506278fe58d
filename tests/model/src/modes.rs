//! The mode changes from CDC to TTL and back, while the store may fail over: only what CDC mode promises is judged.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    /// The store fails over once.
    pub failover: bool,
    /// Entering CDC mode begins a new generation.
    pub flushes: bool,
    /// An entry of TTL mode is a miss in CDC mode.
    pub own_entries: bool,
    /// A session continues from what the store says, and not from memory.
    pub resumes: bool,
}

impl Default for Modes {
    fn default() -> Self {
        Self { failover: false, flushes: true, own_entries: true, resumes: true }
    }
}

/// Commits of the model.
const COMMITS: u8 = 2;

/// What a failover takes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Stored {
    /// The meta is live: CDC mode.
    live: bool,
    generation: u8,
    applied: u8,
    /// The value plus one, the mode that it was stored in, its generation.
    entry: u8,
    by_log: bool,
    of: u8,
    token: u8,
}

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    committed: u8,
    /// True if CDC mode is wanted.
    wanted: bool,
    switches: u8,
    store: Stored,
    copy: Stored,
    failover: u8,
    /// What the invalidator has applied.
    applied: u8,
    /// It has a session in the mode that is wanted.
    session: bool,
    generations: u8,
    /// Two readers: step, loads left, value, 1 if it believes in CDC mode, generation.
    readers: [[u8; 5]; 2],
}

impl Modes {
    /// A session begins: it takes the store up in the mode that is wanted, or flushes it.
    fn begin(&self, state: &State) -> State {
        let mut next = State { session: true, ..*state };
        if !state.wanted {
            next.store.live = false;
        } else if state.store.live {
            next.applied = if self.resumes { state.store.applied } else { state.applied };
        } else {
            (next.store.applied, next.applied, next.store.live) = (state.committed, state.committed, true);
            if self.flushes {
                next.generations += 1;
                next.store.generation = next.generations;
            }
        }
        next
    }

    fn reader(&self, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
        let [step, left, value, by_log, generation] = state.readers[index];
        let token = 1 + index as u8 * 4 + left;
        let mut push = |what, next| steps.push(Step::new(what, [index as u8, 0], next));
        let mut next = *state;
        match step {
            0 if left > 0 => {
                // A process may still believe in the former mode.
                next.readers[index] = [1, left, 0, 0, state.store.generation];
                push("a reader misses in TTL mode", next);
                if state.store.token == 0 {
                    next.store.token = token;
                    next.readers[index] = [1, left, 0, 1, state.store.generation];
                    push("a reader misses in CDC mode", next);
                }
            }
            1 => {
                next.readers[index] = [2, left, state.committed, by_log, generation];
                push("a reader selects", next);
            }
            2 => {
                if by_log == 0 || state.store.token == token {
                    let store = &mut next.store;
                    (store.entry, store.by_log, store.of, store.token) = (value + 1, by_log == 1, generation, 0);
                }
                next.readers[index] = [0, left - 1, 0, 0, 0];
                push("a fill", next);
            }
            _ => {}
        }
    }
}

impl Machine for Modes {
    type State = State;

    fn start(&self) -> State {
        let store = Stored { generation: 1, ..Stored::default() };
        State { store, session: true, generations: 1, readers: [[0, 2, 0, 0, 0]; 2], ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let mut push = |what, next| steps.push(Step::new(what, [0; 2], next));
        if state.committed < COMMITS {
            push("a commit", State { committed: state.committed + 1, ..*state });
        }
        if state.switches < 3 {
            push(
                "another mode is wanted",
                State { switches: state.switches + 1, wanted: !state.wanted, session: false, ..*state },
            );
        }
        if !state.session {
            push("a session begins", self.begin(state));
        }
        if state.session && state.wanted && state.applied < state.committed {
            let applied = state.applied + 1;
            let store = Stored { applied, entry: 0, token: 0, ..state.store };
            push("a commit is applied", State { applied, store, ..*state });
        }
        if self.failover && state.failover == 0 {
            push("the store's replica stops here", State { failover: 1, copy: state.store, ..*state });
        } else if state.failover == 1 {
            let copy = Stored::default();
            push("the store fails over", State { failover: 2, store: state.copy, copy, session: false, ..*state });
        }
        for index in 0..2 {
            self.reader(state, index, steps);
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        let rests = state.wanted && state.session && state.committed == COMMITS && state.applied == COMMITS;
        let idle = state.readers.iter().all(|reader| reader[0] == 0);
        let store = &state.store;
        let served = store.entry > 0 && store.of == store.generation && (store.by_log || !self.own_entries);
        (rests && idle && served && store.entry - 1 < COMMITS).then_some("E")
    }
}
