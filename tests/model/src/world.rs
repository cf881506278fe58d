//! The whole protocol on one shard: database, readers, invalidators.

use crate::check::{Machine, Step};
use crate::config::Config;
use crate::state::{Invalidator, Meta, Reader, State, Store, Wrong, first};
use crate::{bridge, database, invalidator, reader};

impl Machine for Config {
    type State = State;

    fn start(&self) -> State {
        let meta = Meta { present: true, generation: 1, term: 1, high: 1, order: 1, applied: 0, source_time: 0 };
        let mut state = State {
            now: 1,
            store: Store { meta, ..Store::default() },
            evictions: self.evictions,
            meta_evictions: self.meta_evictions,
            gaps: self.gaps,
            crashes: self.crashes,
            by_hand: self.by_hand,
            failures: self.failures,
            generations: 1,
            ..State::default()
        };
        state.invalidators[0] =
            Invalidator { on: true, generation: 1, term: 1, order: 1, next: 1, ..Invalidator::default() };
        for reader in state.readers.iter_mut().take(self.readers) {
            *reader = Reader { left: self.loads, ..Reader::default() };
        }
        state
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step<State>>) {
        database::steps(self, state, steps);
        for index in 0..self.readers {
            reader::steps(self, state, index, steps);
        }
        invalidator::by_hand(self, state, steps);
        for index in 0..state.invalidators.len() {
            invalidator::steps(self, state, index, steps);
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        match state.wrong {
            Some(Wrong::OlderThanInvalidated) => return Some("E'"),
            Some(Wrong::NotInValue) => return Some("S"),
            Some(Wrong::NotCurrent) => return Some("B"),
            None => {}
        }
        let everything_shown = state.logged == self.commits
            && state.visible == first(self.commits)
            && (!self.replica || state.replicated == self.commits);
        let idle = state.readers.iter().all(|reader| reader.step == 0)
            && (0..state.invalidators.len()).all(|index| invalidator::rests(self, state, index));
        if !everything_shown || !idle {
            return None;
        }
        let stale = |key: u8| {
            let entry = state.store.entries[usize::from(key)];
            bridge::serves(state.store.meta, entry) && entry.value < self.version(state.visible, key)
        };
        (0..self.keys).any(stale).then_some("E")
    }
}
