//! Readers: a hit is judged, a miss takes a lease, loads and fills.
//!
//! | step | what comes next |
//! |---:|---|
//! | 0 | a read |
//! | 1 | the meta is read again, until a fence is known |
//! | 2 | what the server has executed is read |
//! | 3 | the SELECT |
//! | 4 | the fill |

use crate::bridge::{self, Leased};
use crate::check::Step;
use crate::config::{Config, LoadTimes};
use crate::state::{Commits, Entry, Meta, Reader, State, UNKNOWN, Wrong, first};

/// Appends the steps of one reader.
pub(crate) fn steps(config: &Config, state: &State, reader: usize, steps: &mut Vec<Step<State>>) {
    let me = state.readers[reader];
    let number = reader as u8;
    match me.step {
        0 => {
            if !config.one_reading && state.store.meta.present && me.left > 0 && me.sample != state.store.meta {
                let mut next = *state;
                next.readers[reader].sample = state.store.meta;
                steps.push(Step::new("a reader samples the meta", [number, 0], next));
            }
            for key in 0..config.keys {
                read(config, state, reader, key, steps);
            }
        }
        1 => {
            let mut next = *state;
            if let Some(fence) = fence(config, state.store.meta) {
                (next.readers[reader].fence, next.readers[reader].step) = (fence, 2);
                steps.push(Step::new("a reader learns its fence", [number, fence], next));
            }
        }
        2 => {
            for server in 0..=u8::from(config.replica) {
                let executed = executed(config, state, server);
                if config.fence && executed & me.fence != me.fence {
                    // It waits; if that takes too long, the value is not stored.
                    continue;
                }
                let mut next = *state;
                let me = &mut next.readers[reader];
                (me.server, me.executed, me.step) = (server, executed, 3);
                me.clock = if config.time > 0 { state.now } else { 0 };
                steps.push(Step::new("a reader asks what a server has executed", [number, server], next));
            }
        }
        3 => {
            let mut next = *state;
            let value = config.version(shown(state, me.server), me.key);
            (next.readers[reader].value, next.readers[reader].step) = (value, 4);
            steps.push(Step::new("a reader selects", [number, value], next));
        }
        _ => fill(config, state, reader, steps),
    }
    if me.step > 0 && state.crashes > 0 {
        let mut next = *state;
        next.crashes -= 1;
        end(&mut next, reader);
        steps.push(Step::new("a reader dies", [number, 0], next));
    }
    if me.step == 1 || (me.step == 2 && config.fence) {
        let mut next = *state;
        release(&mut next, reader);
        end(&mut next, reader);
        steps.push(Step::new("a reader waits for its fence no longer", [number, 0], next));
    }
}

/// What a server shows.
fn shown(state: &State, server: u8) -> Commits {
    if server == 1 { first(state.replicated) } else { state.visible }
}

/// What a server says that it has executed.
fn executed(config: &Config, state: &State, server: u8) -> Commits {
    let shown = shown(state, server);
    if config.exact_positions { shown } else { first(8 - shown.leading_zeros() as u8) }
}

/// What a load must cover; `None` if that is not known.
fn fence(config: &Config, meta: Meta) -> Option<Commits> {
    let known = meta.present && (!config.fence_waits || meta.high <= meta.order);
    known.then_some(meta.applied)
}

fn read(config: &Config, state: &State, reader: usize, key: u8, steps: &mut Vec<Step<State>>) {
    let (me, entry) = (state.readers[reader], state.store.entries[usize::from(key)]);
    let meta = if config.one_reading { state.store.meta } else { me.sample };
    let hit = bridge::serves(meta, entry);
    if hit && let Some(wrong) = judge(config, state, key, meta) {
        let mut next = *state;
        next.wrong = Some(wrong);
        steps.push(Step::new("a reader gets value of key", [entry.value, key], next));
    }
    if me.left == 0 || (hit && !config.early) {
        return;
    }
    let token = if config.token_per_attempt { 1 + reader as u8 * 4 + me.left } else { 1 };
    let (leased, under_lease) = match config.lease {
        true => bridge::lease(state.store.meta, entry, token, config.early),
        false => (if state.store.meta.present { Leased::Granted } else { Leased::Refused }, entry),
    };
    if leased == Leased::Granted {
        let mut next = *state;
        next.store.entries[usize::from(key)] = under_lease;
        let known = fence(config, state.store.meta).filter(|_| config.fence);
        next.readers[reader] = Reader {
            step: if config.fence && known.is_none() { 1 } else { 2 },
            key,
            token,
            generation: state.store.meta.generation,
            fence: known.unwrap_or_default(),
            ..me
        };
        steps.push(Step::new("a reader takes the lease of key", [reader as u8, key], next));
    }
}

/// Returns what is wrong with a hit that is proven by `meta`.
fn judge(config: &Config, state: &State, key: u8, meta: Meta) -> Option<Wrong> {
    let entry = state.store.entries[usize::from(key)];
    if config.judges_invalidated() && entry.value < state.store.invalidated[usize::from(key)] {
        return Some(Wrong::OlderThanInvalidated);
    }
    let loaded = if entry.position == UNKNOWN { 0 } else { entry.position };
    if entry.value < config.version((meta.applied | loaded) & state.visible, key) {
        return Some(Wrong::NotInValue);
    }
    let proven_at = meta.source_time.max(entry.filled_at);
    let newer = |commit: &u8| {
        let was_visible =
            state.visible >> (commit - 1) & 1 == 1 && state.visible_at[usize::from(*commit) - 1] < proven_at;
        config.changes(*commit, key) && was_visible
    };
    let overtaken = config.time > 0 && (entry.value + 1..=config.commits).any(|commit| newer(&commit));
    overtaken.then_some(Wrong::NotCurrent)
}

fn fill(config: &Config, state: &State, reader: usize, steps: &mut Vec<Step<State>>) {
    let me = state.readers[reader];
    let (mut next, meta) = (*state, state.store.meta);
    let filled_at = match (config.load_times, me.server) {
        _ if config.time == 0 => 0,
        (LoadTimes::AtFill, _) => state.now,
        (LoadTimes::BeforeSelect, 1) => 0,
        (LoadTimes::BeforeSelect | LoadTimes::OfReplica, _) => me.clock,
    };
    let new = Entry {
        fresh: true,
        value: me.value,
        position: if config.positions { me.executed } else { UNKNOWN },
        generation: if config.generation_of_lease { me.generation } else { meta.generation },
        filled_at,
        token: 0,
    };
    let entry = &mut next.store.entries[usize::from(me.key)];
    let stored = match config.lease {
        true => {
            let stored;
            (stored, *entry) = bridge::fill(meta, *entry, new, me.token);
            stored
        }
        false => {
            *entry = new;
            true
        }
    };
    if !stored {
        release(&mut next, reader);
    }
    end(&mut next, reader);
    steps.push(Step::new(
        if stored { "a fill is stored" } else { "a fill is refused" },
        [reader as u8, me.value],
        next,
    ));
}

/// The reader's lease ends without a value.
fn release(next: &mut State, reader: usize) {
    let me = next.readers[reader];
    let entry = &mut next.store.entries[usize::from(me.key)];
    if entry.token == me.token {
        *entry = if entry.fresh { Entry { token: 0, ..*entry } } else { Entry::default() };
    }
}

/// The reader's load ends.
fn end(next: &mut State, reader: usize) {
    let me = next.readers[reader];
    let left = me.left - 1;
    let sample = if left > 0 { me.sample } else { Meta::default() };
    next.readers[reader] = Reader { left, sample, ..Reader::default() };
}
