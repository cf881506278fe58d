//! MySQL fails over and loses a commit, and its log comes through Kafka: what the former primary had sent arrives later than
//! the failover, on two partitions.
//!
//! Commit 1 and 2 are the former primary's, and commit 2 is lost; commit 3 is the new one's. Each changes the keys of both
//! partitions. A reader may load from either server.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Relayed {
    /// Events of another server begin a new generation.
    pub new_generation: bool,
    /// A fill from another server than the one whose log is followed is not kept.
    pub names_server: bool,
    /// A commit is applied when all of its events were handed over.
    pub complete: bool,
}

impl Default for Relayed {
    fn default() -> Self {
        Self { new_generation: true, names_server: true, complete: true }
    }
}

/// The commit that only the former primary has.
const LOST: u8 = 2;

/// The first commit of the new primary.
const NEW: u8 = 3;

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    former: u8,
    new: u8,
    failed_over: bool,
    /// The events of each partition, in their order, and how many were read.
    topics: [[u8; 3]; 2],
    sent: [u8; 2],
    read: [u8; 2],
    /// The invalidator follows the new primary.
    follows_new: bool,
    /// Commits that are applied, as bits.
    applied: u8,
    /// Each key's value plus one, its generation, its lease's token.
    entries: [[u8; 3]; 2],
    generation: u8,
    /// Two readers: step, loads left, key, generation of the lease, value, server.
    readers: [[u8; 6]; 2],
    wrong: bool,
}

impl Relayed {
    /// The connector writes an event of a commit to a partition. It has read the former primary's log before it reads the other.
    fn send(&self, state: &State, partition: usize, steps: &mut Vec<Step<State>>) {
        let sent = usize::from(state.sent[partition]);
        let last = sent.checked_sub(1).map_or(0, |at| state.topics[partition][at]);
        let moved = state.topics.iter().any(|events| events.contains(&NEW));
        let choices = match last {
            1 if state.former >= LOST && !moved => [LOST, NEW],
            1 | LOST => [NEW, NEW],
            _ => return,
        };
        // What the connector has not read of the former primary, it may never read.
        for commit in choices.into_iter().filter(|commit| *commit == LOST || state.new >= NEW) {
            self.append(state, partition, commit, steps);
        }
    }

    fn append(&self, state: &State, partition: usize, commit: u8, steps: &mut Vec<Step<State>>) {
        let sent = usize::from(state.sent[partition]);
        let mut next = *state;
        next.topics[partition][sent] = commit;
        next.sent[partition] += 1;
        steps.push(Step::new("an event is sent", [partition as u8, commit], next));
    }

    fn receive(&self, state: &State, partition: usize, steps: &mut Vec<Step<State>>) {
        let read = usize::from(state.read[partition]);
        if read >= usize::from(state.sent[partition]) {
            return;
        }
        let commit = state.topics[partition][read];
        let mut next = *state;
        if commit == NEW && !state.follows_new {
            (next.follows_new, next.applied) = (true, 0b111);
            if self.new_generation {
                next.generation += 1;
            }
            steps.push(Step::new("another server is followed", [partition as u8, 0], next));
            return;
        }
        next.read[partition] += 1;
        (next.entries[partition][0], next.entries[partition][2]) = (0, 0);
        let other = next.topics[1 - partition];
        let complete = other[..usize::from(next.read[1 - partition])].contains(&commit);
        if complete || !self.complete {
            next.applied |= 1 << (commit - 1);
        }
        steps.push(Step::new("an event is applied", [partition as u8, commit], next));
    }

    fn reader(&self, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
        let [step, left, key, generation, value, server] = state.readers[index];
        let (token, of) = (1 + index as u8 * 4 + left, usize::from(key));
        match step {
            0 if left > 0 => {
                for key in 0..2 {
                    let [entry, entry_generation, leased] = state.entries[key];
                    if leased == 0 && (entry == 0 || entry_generation != state.generation) {
                        let mut next = *state;
                        next.entries[key] = [0, 0, token];
                        next.readers[index] = [1, left, key as u8, state.generation, 0, 0];
                        steps.push(Step::new("a lease", [index as u8, key as u8], next));
                    }
                }
            }
            1 => {
                let servers = [(1, state.former), (2, state.new)];
                for (server, value) in servers.into_iter().take(1 + usize::from(state.failed_over)) {
                    let mut next = *state;
                    next.readers[index] = [2, left, key, generation, value, server];
                    steps.push(Step::new("a reader selects", [value, server], next));
                }
            }
            2 => {
                let mut next = *state;
                let elsewhere = self.names_server && (server == 2) != state.follows_new;
                if state.entries[of][2] == token {
                    next.entries[of][2] = 0;
                    if generation == state.generation && !elsewhere {
                        next.entries[of] = [value + 1, generation, 0];
                    }
                }
                next.readers[index] = [0, left - 1, 0, 0, 0, 0];
                steps.push(Step::new("a fill", [index as u8, value], next));
            }
            _ => {}
        }
    }

    /// True if a key is served whose value lacks what is applied of the server that is followed.
    fn unproven(state: &State, key: usize) -> bool {
        let [entry, generation, _] = state.entries[key];
        let served = entry > 0 && generation == state.generation;
        let proven = if state.follows_new { NEW } else { 8 - state.applied.leading_zeros() as u8 };
        served && entry - 1 < proven
    }
}

impl Machine for Relayed {
    type State = State;

    fn start(&self) -> State {
        let readers = [[0, 2, 0, 0, 0, 0]; 2];
        State { former: 1, topics: [[1, 0, 0]; 2], sent: [1; 2], readers, generation: 1, ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let mut step = |what, next| steps.push(Step::new(what, [0; 2], next));
        if !state.failed_over {
            if state.former == 1 {
                step("the primary commits what will be lost", State { former: LOST, ..*state });
            }
            step("the primary fails over", State { failed_over: true, new: 1, ..*state });
        } else if state.new == 1 {
            step("the new primary commits", State { new: NEW, ..*state });
        }
        for partition in 0..2 {
            self.send(state, partition, steps);
            self.receive(state, partition, steps);
        }
        for index in 0..2 {
            self.reader(state, index, steps);
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        if (0..2).any(|key| Self::unproven(state, key)) {
            return Some("S");
        }
        let all_read = state.read == state.sent && state.topics.iter().all(|events| events.contains(&NEW));
        let idle = state.readers.iter().all(|reader| reader[0] == 0);
        let stale = |key: usize| {
            let [entry, generation, _] = state.entries[key];
            entry > 0 && generation == state.generation && entry - 1 != NEW
        };
        (all_read && idle && state.follows_new && (0..2).any(stale)).then_some("E")
    }
}
