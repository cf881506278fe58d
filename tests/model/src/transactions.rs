//! Changes of one transaction arrive on two partitions; the transaction topic counts them.

use crate::check::{Machine, Step};

/// A configuration; the default has every mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Transactions {
    /// Repeated events count once.
    pub distinct: bool,
    /// `applied` is the longest prefix of complete transactions, and not the newest one seen.
    pub complete: bool,
}

impl Default for Transactions {
    fn default() -> Self {
        Self { distinct: true, complete: true }
    }
}

/// The transactions of the events of two partitions; the first event of partition 0 is repeated.
const EVENTS: [[usize; 3]; 2] = [[1, 1, 3], [1, 2, 3]];

/// The number of events of each transaction.
const COUNTS: [u8; 3] = [2, 1, 2];

/// Whether each transaction changes the key of a partition.
const CHANGES: [[bool; 3]; 2] = [[true, false, true], [true, true, true]];

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    committed: u8,
    /// Transactions whose end was read.
    ended: u8,
    /// Events that were read of each partition.
    read: [u8; 2],
    /// For each transaction the number of events, and of which partitions.
    counted: [u8; 3],
    seen: [u8; 3],
    rewinds: u8,
    /// For each key its value plus one, and the lease's token.
    entries: [u8; 2],
    tokens: [u8; 2],
    /// Two readers: step, loads left, key, value.
    readers: [[u8; 4]; 2],
    wrong: Option<&'static str>,
}

/// The last of the first `committed` transactions that changes a key; 0 for none.
fn version(committed: u8, key: usize) -> u8 {
    (1..=committed).rev().find(|transaction| CHANGES[key][usize::from(*transaction) - 1]).unwrap_or_default()
}

impl Transactions {
    fn applied(&self, state: &State) -> u8 {
        if !self.complete {
            return (1..=3).rev().find(|number| state.counted[*number - 1] > 0).unwrap_or_default() as u8;
        }
        let is_complete = |transaction: &usize| {
            let raw = state.counted[*transaction];
            let count = if self.distinct { state.seen[*transaction].count_ones() as u8 } else { raw };
            count >= COUNTS[*transaction] && usize::from(state.ended) > *transaction
        };
        (0..3).take_while(is_complete).count() as u8
    }

    fn partition(&self, state: &State, partition: usize, steps: &mut Vec<Step<State>>) {
        let read = usize::from(state.read[partition]);
        if let Some(&transaction) = EVENTS[partition].get(read)
            && transaction <= usize::from(state.committed)
        {
            let mut next = *state;
            next.read[partition] += 1;
            next.counted[transaction - 1] = (next.counted[transaction - 1] + 1).min(3);
            next.seen[transaction - 1] |= 1 << partition;
            (next.entries[partition], next.tokens[partition]) = (0, 0);
            steps.push(Step::new("an event is applied", [partition as u8, transaction as u8], next));
        }
        if state.rewinds > 0 && read > 0 {
            let mut next = *state;
            (next.rewinds, next.read[partition]) = (state.rewinds - 1, 0);
            steps.push(Step::new("a partition is read again", [partition as u8, 0], next));
        }
    }
}

impl Machine for Transactions {
    type State = State;

    fn start(&self) -> State {
        State { rewinds: 1, readers: [[0, 2, 0, 0]; 2], ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        if state.committed < 3 {
            steps.push(Step::new("a commit", [0; 2], State { committed: state.committed + 1, ..*state }));
        }
        if state.ended < state.committed {
            steps.push(Step::new("an end is read", [0; 2], State { ended: state.ended + 1, ..*state }));
        }
        for partition in 0..2 {
            self.partition(state, partition, steps);
            let (entry, proven) = (state.entries[partition], version(self.applied(state), partition));
            if entry > 0 && entry - 1 < proven {
                let next = State { wrong: Some("S"), ..*state };
                steps.push(Step::new("a hit", [entry - 1, proven], next));
            }
        }
        for (index, [step, left, key, value]) in state.readers.into_iter().enumerate() {
            let (token, of) = (1 + index as u8 * 4 + left, usize::from(key));
            let mut next = *state;
            match step {
                0 if left > 0 => {
                    for key in (0..2).filter(|key| state.entries[*key] == 0 && state.tokens[*key] == 0) {
                        let mut next = *state;
                        next.tokens[key] = token;
                        next.readers[index] = [1, left, key as u8, 0];
                        steps.push(Step::new("a lease", [index as u8, key as u8], next));
                    }
                }
                1 => {
                    next.readers[index] = [2, left, key, version(state.committed, of)];
                    steps.push(Step::new("a reader selects", [index as u8, key], next));
                }
                2 => {
                    if state.tokens[of] == token {
                        (next.entries[of], next.tokens[of]) = (value + 1, 0);
                    }
                    next.readers[index] = [0, left - 1, 0, 0];
                    steps.push(Step::new("a fill", [index as u8, value], next));
                }
                _ => {}
            }
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        let rests = state.committed == 3 && state.read == [3, 3] && state.readers.iter().all(|reader| reader[0] == 0);
        let stale = |key: usize| state.entries[key] > 0 && state.entries[key] - 1 < version(3, key);
        state.wrong.or((rests && (0..2).any(stale)).then_some("E"))
    }
}
