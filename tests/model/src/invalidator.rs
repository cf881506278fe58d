//! Invalidators: a session takes the term, applies batches in the one order, and ends with any conflict.
//!
//! | step | what comes next |
//! |---:|---|
//! | 0 | a batch, a heartbeat, a loss of changes |
//! | 1 | the gate |
//! | 2 | the high watermark |
//! | 3 | the invalidations, key by key |
//! | 4 | `applied` |
//! | 5 | a new session: the store's state is read, the term is taken |
//! | 6 | the high watermark is raised after the term was taken |
//! | 7, 8, 9 | a flush: the head, the gate, the new meta |

use crate::bridge;
use crate::check::Step;
use crate::config::Config;
use crate::state::{Commits, Invalidator, Meta, State, first};

/// The step of a session that is over.
pub(crate) const OVER: u8 = 5;

/// The step at which a flush begins.
const FLUSH: u8 = 7;

/// Appends the steps of one invalidator.
pub(crate) fn steps(config: &Config, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let (me, number) = (state.invalidators[index], index as u8);
    if !me.on {
        if index == 1 && config.second && state.invalidators[0].on {
            let mut next = *state;
            next.invalidators[1] = Invalidator { on: true, step: OVER, ..Invalidator::default() };
            steps.push(Step::new("a second invalidator starts", [number, 0], next));
        }
        return;
    }
    if state.crashes > 0 && me.step != OVER {
        let mut next = *state;
        next.crashes -= 1;
        next.invalidators[index].step = OVER;
        steps.push(Step::new("an invalidator restarts", [number, 0], next));
    }
    match me.step {
        0 => idle(config, state, index, steps),
        1 => {
            let ready = waited_for(config, state, batch(&me));
            if ready {
                let mut next = *state;
                next.invalidators[index].step = if config.applied_last { 2 } else { 4 };
                steps.push(Step::new("a batch passes the gate", [number, me.batch], next));
            }
        }
        2 => raise(config, state, index, steps),
        3 => invalidate(config, state, index, steps),
        4 => apply(config, state, index, steps),
        OVER => begin(config, state, index, steps),
        6 => {
            let mut next = *state;
            let meta = bridge::raise(state.store.meta, expected(&me), me.next + 1);
            (next.invalidators[index].step, next.invalidators[index].sent) = (0, state.visible);
            match meta {
                Some(meta) => next.store.meta = meta,
                None => next.invalidators[index].step = OVER,
            }
            steps.push(Step::new("everything up to the end counts as sent", [number, state.visible], next));
        }
        _ => flush(config, state, index, steps),
    }
}

/// True if a position is visible where the gate waits.
fn waited_for(config: &Config, state: &State, position: Commits) -> bool {
    let on_primary = !config.gate || state.visible & position == position;
    let on_replica = !config.gate_on_replica || first(state.replicated) & position == position;
    on_primary && on_replica
}

/// What every write of a session compares.
fn expected(me: &Invalidator) -> [u8; 3] {
    [me.generation, me.term, me.order]
}

/// The commits of the batch in hand.
fn batch(me: &Invalidator) -> Commits {
    first(me.batch) & !me.applied
}

fn matches(me: &Invalidator, meta: Meta) -> bool {
    meta.present && [meta.generation, meta.term, meta.order] == expected(me)
}

fn idle(config: &Config, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let (me, number, mut next) = (state.invalidators[index], index as u8, *state);
    if config.compares && !matches(&me, state.store.meta) {
        next.invalidators[index].step = OVER;
        steps.push(Step::new("a session ends, the store is not as expected", [number, 0], next));
        return;
    }
    if state.gaps > 0 && state.store.meta.present {
        let mut next = *state;
        next.gaps -= 1;
        next.invalidators[index].step = FLUSH;
        steps.push(Step::new("changes are lost", [number, 0], next));
    }
    let applied = me.applied.trailing_ones() as u8;
    for count in 1..=1 + u8::from(config.batches_of_two) {
        if applied + count <= state.logged {
            let mut next = *state;
            let me = &mut next.invalidators[index];
            (me.step, me.batch) = (1, applied + count);
            let commits = batch(me);
            let touched = |key: &u8| config.version(commits, *key) > 0;
            me.keys = (0..config.keys).filter(touched).fold(0, |keys, key| keys | 1 << key);
            if config.fence {
                me.sent |= commits;
            }
            steps.push(Step::new("a batch arrives, up to commit", [number, applied + count], next));
        }
    }
    heartbeat(config, state, index, steps);
}

/// The watermark, and the end of what was sent and not applied.
fn heartbeat(config: &Config, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let (me, number) = (state.invalidators[index], index as u8);
    if config.time > 0 && me.asked == [0; 2] && state.store.meta.source_time < state.now {
        let mut next = *state;
        next.invalidators[index].asked = [state.now, state.visible];
        steps.push(Step::new("an invalidator asks for the end", [number, state.visible], next));
    }
    let asked = me.asked != [0; 2] && me.applied & me.asked[1] == me.asked[1];
    let fenced = me.sent != 0 && me.applied & me.sent == me.sent;
    if !asked && !fenced {
        return;
    }
    let mut next = *state;
    let me = &mut next.invalidators[index];
    let mut order = me.order;
    if fenced {
        me.next += 1;
        (order, me.sent) = (me.next, 0);
    }
    let mut time = 0;
    if asked {
        time = if config.asked_before { me.asked[0] } else { state.now };
        me.asked = [0; 2];
    }
    let applied = me.applied;
    write_applied(config, &mut next, index, [order, applied, time]);
    steps.push(Step::new("a heartbeat", [number, time], next));
}

/// Moves `applied`; a conflict ends the session.
fn write_applied(config: &Config, next: &mut State, index: usize, [order, applied, time]: [u8; 3]) {
    let me = &mut next.invalidators[index];
    let meta = next.store.meta;
    let written = match config.compares {
        true => bridge::commit(meta, expected(me), [order, applied, time]),
        // Whatever is there.
        false => bridge::commit(meta, [meta.generation, meta.term, meta.order], [order.max(meta.order), applied, time]),
    };
    match written {
        Some(meta) => (next.store.meta, me.order, me.applied) = (meta, order, applied),
        None => me.step = OVER,
    }
}

fn raise(config: &Config, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let (mut next, number) = (*state, index as u8);
    let me = &mut next.invalidators[index];
    (me.next, me.step) = (me.next + 1, 3);
    let after = me.applied | batch(me);
    let ahead = u8::from(after & me.sent != me.sent);
    if config.raises {
        let meta = state.store.meta;
        let compared = if config.compares { expected(me) } else { [meta.generation, meta.term, meta.order] };
        match bridge::raise(meta, compared, me.next + ahead) {
            Some(meta) => next.store.meta = meta,
            None => me.step = OVER,
        }
    }
    steps.push(Step::new("the high watermark is raised", [number, me.next + ahead], next));
}

fn invalidate(config: &Config, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let (me, number) = (state.invalidators[index], index as u8);
    let after = if config.applied_last { 4 } else { 0 };
    for key in (0..config.keys).filter(|key| me.keys >> key & 1 == 1) {
        let mut next = *state;
        next.invalidators[index].keys &= !(1 << key);
        if next.invalidators[index].keys == 0 {
            next.invalidators[index].step = after;
        }
        if state.failures > 0 {
            let mut failed = next;
            failed.failures -= 1;
            if config.applied_after_replies {
                failed.invalidators[index].step = OVER;
            }
            steps.push(Step::new("an invalidation fails: invalidator, key", [number, key], failed));
        }
        let commits = first(me.batch) & !if config.applied_last { me.applied } else { 0 };
        remove(config, &mut next, key, commits);
        steps.push(Step::new("a key is invalidated", [number, key], next));
    }
}

/// Applies commits to a key.
fn remove(config: &Config, next: &mut State, key: u8, commits: Commits) {
    let own = (1..=config.commits).filter(|commit| config.changes(*commit, key));
    let own = own.fold(0, |set, commit| set | 1 << (commit - 1)) & commits;
    let entry = &mut next.store.entries[usize::from(key)];
    let before = *entry;
    *entry = bridge::invalidate(next.store.meta, before, if config.survives { own } else { 0 });
    if !config.breaks_lease && entry.fresh {
        entry.token = before.token;
    }
    let invalidated = &mut next.store.invalidated[usize::from(key)];
    *invalidated = (*invalidated).max(config.version(own, key));
}

fn apply(config: &Config, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let (mut next, number) = (*state, index as u8);
    let me = &mut next.invalidators[index];
    let after = me.applied | batch(me);
    me.step = if config.applied_last { 0 } else { 3 };
    let order = if config.raises { me.next } else { me.order };
    if !config.applied_last {
        me.next += 1;
    }
    if after & me.sent == me.sent && order == me.next {
        me.sent = 0;
    }
    let order = if config.applied_last { order } else { me.next };
    write_applied(config, &mut next, index, [order, after, 0]);
    steps.push(Step::new("a batch is applied, up to commit", [number, state.invalidators[index].batch], next));
}

/// A new session: one that was replaced stands by.
fn begin(config: &Config, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let (mut next, meta, number) = (*state, state.store.meta, index as u8);
    let me = &mut next.invalidators[index];
    *me = Invalidator { on: true, step: OVER, term: me.term, next: me.next, ..Invalidator::default() };
    if !meta.present {
        me.step = FLUSH;
        steps.push(Step::new("a session finds no meta", [number, 0], next));
        return;
    }
    if me.term > 0 && meta.term > me.term {
        return;
    }
    let term = me.term.max(meta.term) + 1;
    let Some(taken) = bridge::take_term(meta, meta, term) else { return };
    *me = Invalidator {
        step: if config.fence && config.fence_to_end { 6 } else { 0 },
        next: me.next.max(meta.high),
        generation: meta.generation,
        term,
        order: meta.order,
        applied: meta.applied,
        ..*me
    };
    next.store.meta = taken;
    steps.push(Step::new("a session takes the term, at applied", [number, meta.applied], next));
}

/// A flush: head, gate, meta.
fn flush(config: &Config, state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let (mut next, number) = (*state, index as u8);
    let me = &mut next.invalidators[index];
    let what = match me.step {
        FLUSH => {
            (me.head, me.step) = (first(state.logged), 8);
            if !config.head_first {
                // The removed order: a new generation, and then the head.
                next.generations += 1;
                let (me, generation) = (&mut next.invalidators[index], next.generations);
                (me.step, me.generation, next.store.meta.generation) = (8, generation, generation);
            }
            "a flush notes the head"
        }
        8 => {
            if !config.head_first {
                me.head = first(state.logged);
            }
            if config.head_at_gate && !waited_for(config, state, me.head) {
                return;
            }
            me.step = 9;
            "the head of a flush is visible"
        }
        _ => {
            write_flush(config, &mut next, index);
            "a flush begins a generation"
        }
    };
    steps.push(Step::new(what, [number, next.invalidators[index].head], next));
}

fn write_flush(config: &Config, next: &mut State, index: usize) {
    let before = next.store.meta;
    let generation = match (config.head_first, config.new_generations) {
        (false, _) => before.generation,
        (true, true) => {
            next.generations += 1;
            next.generations
        }
        (true, false) => {
            if before.present {
                before.generation + 1
            } else {
                1
            }
        }
    };
    let visible = next.visible;
    let me = &mut next.invalidators[index];
    let term = me.term.max(before.term) + 1;
    me.next += 1;
    me.sent = if config.fence && me.head & visible != visible { visible } else { 0 };
    let meta = Meta {
        present: true,
        generation,
        term,
        high: me.next + u8::from(me.sent != 0),
        order: me.next,
        applied: me.head,
        source_time: 0,
    };
    match bridge::flush(before, meta) {
        Some(meta) => {
            next.store.meta = meta;
            let me = &mut next.invalidators[index];
            *me = Invalidator {
                on: true,
                next: me.next,
                sent: me.sent,
                generation,
                term,
                order: meta.order,
                applied: meta.applied,
                ..Invalidator::default()
            };
        }
        None => me.step = OVER,
    }
}

/// True if nothing is left to do for an invalidator: it has applied everything, or another one has the term.
pub(crate) fn rests(config: &Config, state: &State, index: usize) -> bool {
    let (me, meta) = (state.invalidators[index], state.store.meta);
    let done = me.step == 0 && me.applied == first(config.commits) && (!config.compares || matches(&me, meta));
    !me.on || done || (me.step == OVER && meta.present && me.term > 0 && meta.term > me.term)
}

/// Appends the invalidations by hand of a commit that is visible.
pub(crate) fn by_hand(config: &Config, state: &State, steps: &mut Vec<Step<State>>) {
    if state.by_hand == 0 {
        return;
    }
    for commit in (1..=state.logged).filter(|commit| state.visible >> (commit - 1) & 1 == 1) {
        for key in (0..config.keys).filter(|key| config.changes(commit, *key)) {
            let mut next = *state;
            next.by_hand -= 1;
            // It names no commit, so nothing survives.
            next.store.entries[usize::from(key)] =
                bridge::invalidate(next.store.meta, next.store.entries[usize::from(key)], 0);
            let invalidated = &mut next.store.invalidated[usize::from(key)];
            *invalidated = (*invalidated).max(commit);
            steps.push(Step::new("an application invalidates: commit, key", [commit, key], next));
        }
    }
}
