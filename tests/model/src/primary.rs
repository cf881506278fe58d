//! The database's primary fails over and loses commit 2; the new one continues with commit 3.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Primary {
    /// A new server begins a new generation, also if it has everything that was applied.
    pub new_generation: bool,
    /// A fill from another server than the one whose log is followed is not kept.
    pub names_server: bool,
    /// A flush replaces the high watermark: with fences only.
    pub replaces_high: bool,
}

impl Default for Primary {
    fn default() -> Self {
        Self { new_generation: true, names_server: true, replaces_high: true }
    }
}

/// The value that only the former primary has.
const LOST: u8 = 2;

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// The last commit of the former and of the new primary.
    former: u8,
    new: u8,
    failed_over: bool,
    /// The invalidator follows the new primary, and has applied up to here.
    follows_new: bool,
    applied: u8,
    /// The high watermark names the lost commit.
    names_lost: bool,
    generation: u8,
    entry: u8,
    entry_generation: u8,
    token: u8,
    /// Two readers: step, loads left, generation of the lease, value, server.
    readers: [[u8; 5]; 2],
}

impl Primary {
    fn reader(&self, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
        let [step, left, generation, value, server] = state.readers[index];
        let number = index as u8;
        let token = 1 + number * 4 + left;
        match step {
            0 if left > 0 && state.token == 0 && (state.entry == 0 || state.entry_generation != state.generation) => {
                let mut next = *state;
                (next.token, next.entry) = (token, 0);
                next.readers[index] = [1, left, state.generation, 0, 0];
                steps.push(Step::new("a lease", [number, 0], next));
            }
            1 => {
                let servers = [(1, state.former), (2, state.new)];
                for (server, value) in servers.into_iter().take(1 + usize::from(state.failed_over)) {
                    let mut next = *state;
                    next.readers[index] = [2, left, generation, value, server];
                    steps.push(Step::new("a reader selects from server", [value, server], next));
                }
            }
            2 => {
                let mut next = *state;
                let elsewhere = self.names_server && (server == 2) != state.follows_new;
                if state.token == token {
                    next.token = 0;
                    if generation == state.generation && !elsewhere {
                        (next.entry, next.entry_generation) = (value, generation);
                    }
                }
                next.readers[index] = [0, left - 1, 0, 0, 0];
                steps.push(Step::new("a fill", [value, u8::from(elsewhere)], next));
            }
            _ => {}
        }
    }
}

impl Machine for Primary {
    type State = State;

    fn start(&self) -> State {
        State { former: 1, applied: 1, generation: 1, readers: [[0, 2, 0, 0, 0]; 2], ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let mut step = |what, change: &dyn Fn(&mut State)| {
            let mut next = *state;
            change(&mut next);
            steps.push(Step::new(what, [0; 2], next));
        };
        if !state.failed_over {
            if state.former == 1 {
                step("the primary commits what will be lost", &|next| next.former = LOST);
            }
            step("the primary fails over", &|next| (next.failed_over, next.new) = (true, 1));
        }
        if state.failed_over && state.new == 1 {
            step("the new primary commits", &|next| next.new = 3);
        }
        if !state.follows_new && state.applied < state.former {
            step("the lost commit is applied", &|next| {
                (next.applied, next.names_lost, next.entry, next.token) = (LOST, true, 0, 0);
            });
        }
        if state.failed_over && !state.follows_new {
            step("the invalidator follows the new primary", &|next| {
                (next.follows_new, next.applied) = (true, next.new);
                if self.new_generation {
                    next.generation += 1;
                    next.names_lost &= !self.replaces_high;
                }
            });
        }
        if state.follows_new && state.applied < state.new {
            step("the new commit is applied", &|next| (next.applied, next.entry, next.token) = (next.new, 0, 0));
        }
        for index in 0..2 {
            self.reader(state, index, steps);
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        if state.follows_new && state.names_lost && !self.replaces_high {
            return Some("F");
        }
        let idle = state.readers.iter().all(|reader| reader[0] == 0);
        let rests = state.follows_new && state.applied == state.new && idle;
        let served = state.entry > 0 && state.entry_generation == state.generation;
        (rests && served && state.entry != state.new).then_some("E")
    }
}
