//! The bus and one process-local tier: a value is served while the count of invalidations is the one that was read before the
//! value was.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism and no fault.
#[derive(Clone, Copy, Debug)]
pub struct Bus {
    /// Messages that are lost.
    pub losses: u8,
    /// The store fails over once, with its bus.
    pub failover: bool,
    /// A message is appended after the store's invalidation.
    pub after_store: bool,
    /// The count is read before the value is.
    pub ticket_first: bool,
    /// A hit is proven by what this process has handled, and not by what the store has applied.
    pub proven_by_bus: bool,
    /// In doubt the tier is off until the bus's head is noted, and cleared after that.
    pub off_in_doubt: bool,
    /// Another server is doubt.
    pub server_is_doubt: bool,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            losses: 0,
            failover: false,
            after_store: true,
            ticket_first: true,
            proven_by_bus: true,
            off_in_doubt: true,
            server_is_doubt: true,
        }
    }
}

/// Commits of the model, all of one row.
const COMMITS: u8 = 2;

/// What fails over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Shared {
    /// The entry: its value plus one; 0 if there is none.
    entry: u8,
    /// The last commit that is applied.
    applied: u8,
    /// The sequence of the last message.
    sequence: u8,
}

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    committed: u8,
    store: Shared,
    copy: Shared,
    failover: u8,
    /// The invalidator: 0 idle, 1 and 2 invalidation and message, 3 `applied`.
    step: u8,
    /// The last message that this process has handled, and the commit that it named.
    handled: u8,
    proven: u8,
    on: bool,
    /// The head of the bus that was noted in doubt, plus one.
    head: u8,
    count: u8,
    /// A read in progress: 0 none, 1 the count was read, 2 the value was.
    read: u8,
    ticket: u8,
    value: u8,
    /// The kept value plus one, and its count.
    kept: u8,
    kept_ticket: u8,
    losses: u8,
    wrong: Option<&'static str>,
}

impl Bus {
    fn invalidator(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let mut next = *state;
        let commit = state.store.applied + 1;
        let what = match (state.step, self.after_store) {
            (0, _) if state.store.applied < state.committed => {
                next.step = 1;
                "a batch begins"
            }
            (0, _) => return,
            (1, true) | (2, false) => {
                (next.store.entry, next.step) = (0, state.step + 1);
                "the store's entry is removed"
            }
            (1 | 2, _) => {
                (next.store.sequence, next.step) = (state.store.sequence + 1, state.step + 1);
                "a message is appended"
            }
            _ => {
                (next.store.applied, next.step) = (commit, 0);
                "`applied` moves"
            }
        };
        steps.push(Step::new(what, [commit, 0], next));
    }

    fn follower(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let behind = state.on && state.handled < state.store.sequence;
        if behind {
            let mut next = *state;
            // Each message names one commit; after a failover they are named again.
            (next.handled, next.count) = (state.handled + 1, state.count.wrapping_add(1));
            next.proven = state.store.applied.max(state.proven);
            if state.step == 3 && next.handled == state.store.sequence {
                next.proven = next.proven.max(state.store.applied + 1);
            }
            steps.push(Step::new("a message is handled", [next.handled, 0], next));
        }
        if behind && state.losses > 0 {
            let mut next = *state;
            next.losses -= 1;
            doubt(&mut next);
            if !self.off_in_doubt {
                // The removed order: cleared at once, and on; the head is noted later.
                next.on = true;
                next.head = u8::MAX;
            }
            steps.push(Step::new("a message was lost", [0; 2], next));
        }
        if state.head == u8::MAX {
            let mut next = *state;
            (next.handled, next.head, next.proven) = (state.store.sequence, 0, state.store.applied);
            steps.push(Step::new("the process resumes at the head", [next.handled, 0], next));
        } else if !state.on && state.head == 0 {
            let mut next = *state;
            next.head = state.store.sequence + 1;
            steps.push(Step::new("the head of the bus is noted", [state.store.sequence, 0], next));
        } else if !state.on {
            let mut next = *state;
            (next.on, next.handled, next.head, next.proven) = (true, state.head - 1, 0, 0);
            next.count = state.count.wrapping_add(1);
            steps.push(Step::new("the tier is cleared and on", [next.handled, 0], next));
        }
    }

    fn reader(&self, state: &State, steps: &mut Vec<Step<State>>) {
        if self.serves(state) {
            let value = state.kept - 1;
            let proven = if self.proven_by_bus { state.proven } else { state.store.applied };
            if value < proven {
                let mut next = *state;
                next.wrong = Some("S");
                steps.push(Step::new("a hit in the process-local tier", [value, proven], next));
            }
        }
        let mut next = *state;
        let what = match state.read {
            0 => {
                (next.read, next.ticket) = (1, state.count);
                "a read begins"
            }
            1 => {
                // A miss of the store is loaded and stored, under a lease that is still there.
                if state.store.entry == 0 {
                    next.store.entry = state.committed + 1;
                }
                (next.read, next.value) = (2, next.store.entry - 1);
                "the store replies"
            }
            _ => {
                let ticket = if self.ticket_first { state.ticket } else { state.count };
                (next.read, next.ticket, next.value) = (0, 0, 0);
                if state.on {
                    (next.kept, next.kept_ticket) = (state.value + 1, ticket);
                }
                "the value is kept"
            }
        };
        steps.push(Step::new(what, [next.value, 0], next));
        if state.store.entry > 0 {
            let mut next = *state;
            next.store.entry = 0;
            steps.push(Step::new("the store evicts", [0; 2], next));
        }
    }

    fn serves(&self, state: &State) -> bool {
        state.on && state.kept > 0 && state.kept_ticket == state.count
    }
}

fn doubt(next: &mut State) {
    (next.on, next.head, next.proven) = (false, 0, 0);
    (next.kept, next.kept_ticket, next.count) = (0, 0, next.count.wrapping_add(1));
}

impl Machine for Bus {
    type State = State;

    fn start(&self) -> State {
        State { on: true, losses: self.losses, ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        if state.committed < COMMITS {
            let mut next = *state;
            next.committed += 1;
            steps.push(Step::new("a commit", [next.committed, 0], next));
        }
        self.invalidator(state, steps);
        self.follower(state, steps);
        self.reader(state, steps);
        if self.failover && state.failover == 0 {
            let mut next = *state;
            (next.copy, next.failover) = (state.store, 1);
            steps.push(Step::new("the store's replica stops here", [0; 2], next));
        }
        if state.failover == 1 {
            let mut next = *state;
            (next.store, next.copy, next.failover, next.step) = (state.copy, Shared::default(), 2, 0);
            if self.server_is_doubt {
                doubt(&mut next);
            }
            steps.push(Step::new("the store fails over", [0; 2], next));
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        let applied = state.committed == COMMITS && state.store.applied == COMMITS && state.step == 0;
        let handled = state.on && state.handled >= state.store.sequence && state.head == 0 && state.read == 0;
        let stale = applied && handled && self.serves(state) && state.kept - 1 < COMMITS;
        state.wrong.or(stale.then_some("E"))
    }
}
