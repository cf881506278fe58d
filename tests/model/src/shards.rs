//! Two shards on servers of their own, a process-local tier and its bus, and failovers of either shard, together.
//!
//! Commit 1 changes the keys of both shards, commit 2 that of the second one. The bus is on the first shard's server.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Shards {
    /// Failovers of the first and of the second shard.
    pub failovers: [bool; 2],
    /// A session continues from the least position of the shards, and not from the greatest one.
    pub least: bool,
    /// The identity that a process compares is that of all shards' servers, and not that of the bus's alone.
    pub of_all: bool,
    /// A value is kept only if it was read from the servers that the bus is followed on.
    pub one_server: bool,
    /// A shard's failover ends the session.
    pub one_connection: bool,
    /// A count that was read in doubt is invalid after the doubt.
    pub counts_doubt: bool,
}

impl Default for Shards {
    fn default() -> Self {
        Self {
            failovers: [true; 2],
            least: true,
            of_all: true,
            one_server: true,
            one_connection: true,
            counts_doubt: true,
        }
    }
}

/// Commits of the model.
const COMMITS: u8 = 2;

/// Messages that the bus can hold: each commit, repeated after each failover.
const MESSAGES: usize = 8;

/// The number of the last of the first `commits` commits that changed a shard's key.
fn version(commits: u8, shard: usize) -> u8 {
    if shard == 0 { commits.min(1) } else { commits }
}

/// What a failover of one shard takes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Shard {
    /// The value plus one; 0 if there is no entry.
    entry: u8,
    applied: u8,
    /// Of the first shard: the bus. A message is its commit, and the identity of its publisher.
    messages: [[u8; 2]; MESSAGES],
    sequence: u8,
}

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    committed: u8,
    shards: [Shard; 2],
    copies: [Shard; 2],
    /// 0: the replica follows, 1: it has stopped, 2: it has taken over.
    failover: [u8; 2],
    /// Counts the changes of a server, as a process compares them.
    identity: u8,
    /// The session: 0 idle, 1 invalidates, 2 appends, 3 moves `applied`, 4 is over; what it has applied; its identity; the
    /// shards that are left in this step.
    session: [u8; 4],
    on: bool,
    follows: u8,
    handled: u8,
    proven: u8,
    counts: [u8; 2],
    /// A read: step, shard, count, value, identity.
    read: [u8; 5],
    /// The kept value plus one, and its count.
    kept: [[u8; 2]; 2],
    wrong: Option<&'static str>,
}

impl Shards {
    fn session(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let [step, applied, _, left] = state.session;
        let both = [0, 1].into_iter().filter(|shard| left >> shard & 1 == 1);
        match step {
            0 if applied < state.committed => {
                let changed = (0..2).filter(|shard| version(applied + 1, *shard) > version(applied, *shard));
                let mut next = *state;
                (next.session[0], next.session[3]) = (1, changed.fold(0, |set, shard| set | 1 << shard));
                steps.push(Step::new("a batch begins", [applied + 1, 0], next));
            }
            1 | 3 => {
                for shard in both {
                    let mut next = *state;
                    let at = &mut next.shards[shard];
                    if step == 1 {
                        at.entry = 0;
                    } else {
                        at.applied = applied + 1;
                    }
                    next.session[3] &= !(1 << shard);
                    if next.session[3] == 0 {
                        next.session = if step == 1 {
                            [2, applied, next.session[2], 0]
                        } else {
                            [0, applied + 1, next.session[2], 0]
                        };
                    }
                    let what = if step == 1 { "an entry is removed" } else { "`applied` moves on a shard" };
                    steps.push(Step::new(what, [shard as u8, applied + 1], next));
                }
            }
            2 => {
                let mut next = *state;
                let bus = &mut next.shards[0];
                if usize::from(bus.sequence) < MESSAGES {
                    bus.messages[usize::from(bus.sequence)] = [applied + 1, state.session[2]];
                    bus.sequence += 1;
                    (next.session[0], next.session[3]) = (3, 3);
                    steps.push(Step::new("a message is appended", [applied + 1, 0], next));
                }
            }
            4 => {
                let positions = state.shards.map(|shard| shard.applied);
                let from = if self.least { positions[0].min(positions[1]) } else { positions[0].max(positions[1]) };
                let mut next = *state;
                next.session = [0, from, state.identity, 0];
                for shard in &mut next.shards {
                    shard.applied = from;
                }
                steps.push(Step::new("a session begins at", [from, 0], next));
            }
            _ => {}
        }
    }

    fn process(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let bus = state.shards[0];
        let mut next = *state;
        if !state.on {
            (next.on, next.follows, next.handled, next.proven) = (true, state.identity, bus.sequence, 0);
            if self.counts_doubt {
                next.counts = next.counts.map(|count| (count + 1) % 16);
            }
            steps.push(Step::new("the tier is on from message", [bus.sequence, 0], next));
            return;
        }
        if state.follows != state.identity {
            doubt(&mut next);
            steps.push(Step::new("the process notices another server", [0; 2], next));
        }
        if state.handled < bus.sequence {
            let [commit, publisher] = bus.messages[usize::from(state.handled)];
            let mut next = *state;
            if publisher == state.follows {
                next.handled += 1;
                for shard in 0..2 {
                    if version(commit, shard) > version(commit - 1, shard) {
                        next.counts[shard] = (next.counts[shard] + 1) % 16;
                    }
                }
                next.proven = state.proven.max(commit);
            } else {
                doubt(&mut next);
            }
            steps.push(Step::new("a message is handled", [commit, publisher], next));
        }
    }

    fn reader(&self, state: &State, steps: &mut Vec<Step<State>>) {
        let [step, shard, count, value, identity] = state.read;
        let of = usize::from(shard);
        match step {
            0 => {
                for shard in 0..2 {
                    let mut next = *state;
                    next.read = [1, shard as u8, state.counts[shard], 0, 0];
                    steps.push(Step::new("a read begins", [shard as u8, 0], next));
                }
            }
            1 => {
                let mut next = *state;
                // A miss is loaded and stored, under a lease that is still there.
                if state.shards[of].entry == 0 {
                    next.shards[of].entry = version(state.committed, of) + 1;
                }
                let value = next.shards[of].entry - 1;
                next.read = [2, shard, count, value, state.identity];
                if value < version(state.shards[of].applied, of) {
                    next.wrong = Some("S");
                }
                steps.push(Step::new("a shard replies", [shard, value], next));
            }
            _ => {
                let mut next = *state;
                next.read = [0; 5];
                if state.on && (identity == state.follows || !self.one_server) {
                    next.kept[of] = [value + 1, count];
                }
                steps.push(Step::new("the value is kept", [shard, value], next));
            }
        }
    }

    fn failovers(&self, state: &State, steps: &mut Vec<Step<State>>) {
        for shard in (0..2).filter(|shard| self.failovers[*shard]) {
            let mut next = *state;
            if state.failover[shard] == 0 {
                (next.copies[shard], next.failover[shard]) = (state.shards[shard], 1);
                steps.push(Step::new("a replica stops here", [shard as u8, 0], next));
            } else if state.failover[shard] == 1 {
                (next.shards[shard], next.failover[shard]) = (state.copies[shard], 2);
                next.copies[shard] = Shard::default();
                next.identity += u8::from(self.of_all || shard == 0);
                if self.one_connection {
                    next.session[0] = 4;
                }
                steps.push(Step::new("a shard fails over", [shard as u8, 0], next));
            }
        }
    }

    fn serves(state: &State, shard: usize) -> bool {
        let [value, count] = state.kept[shard];
        state.on && value > 0 && count == state.counts[shard]
    }
}

/// The tier is off and empty.
fn doubt(next: &mut State) {
    (next.on, next.proven, next.kept) = (false, 0, [[0; 2]; 2]);
    next.counts = next.counts.map(|count| (count + 1) % 16);
}

impl Machine for Shards {
    type State = State;

    fn start(&self) -> State {
        State { on: true, ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        if state.committed < COMMITS {
            let next = State { committed: state.committed + 1, ..*state };
            steps.push(Step::new("a commit", [next.committed, 0], next));
        }
        self.session(state, steps);
        self.process(state, steps);
        self.reader(state, steps);
        self.failovers(state, steps);
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        let kept_stale = |upto: u8| {
            (0..2).any(|shard| Self::serves(state, shard) && state.kept[shard][0] - 1 < version(upto, shard))
        };
        if state.wrong.is_some() || kept_stale(state.proven) {
            return Some("S");
        }
        let applied = state.session[0] == 0 && state.session[1] == COMMITS;
        let handled = state.on && state.follows == state.identity && state.handled == state.shards[0].sequence;
        let idle = state.committed == COMMITS && state.read[0] == 0 && applied && handled;
        let stored = |shard: usize| {
            let entry = state.shards[shard].entry;
            entry > 0 && entry - 1 < version(COMMITS, shard)
        };
        (idle && (kept_stale(COMMITS) || (0..2).any(stored))).then_some("E")
    }
}
