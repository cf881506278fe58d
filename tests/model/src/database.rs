//! The database, what evicts and fails over, and the clock.

use crate::check::Step;
use crate::config::Config;
use crate::invalidator::OVER;
use crate::state::{Entry, Meta, State, first};

/// Appends the steps of the database: a commit is in the log first, then visible on the primary, then on the replica.
pub(crate) fn steps(config: &Config, state: &State, steps: &mut Vec<Step<State>>) {
    let mut step = |what, of, change: &dyn Fn(&mut State)| {
        let mut next = *state;
        change(&mut next);
        steps.push(Step::new(what, of, next));
    };
    if state.logged < config.commits {
        step("a commit is in the log", [state.logged + 1, 0], &|next| next.logged += 1);
    }
    for commit in 1..=state.logged {
        let bit = 1 << (commit - 1);
        if state.visible & bit != 0 {
            continue;
        }
        let in_order = state.visible == first(commit - 1);
        let other_rows = (1..commit).all(|earlier| {
            let apart = (0..config.keys).all(|key| !(config.changes(earlier, key) && config.changes(commit, key)));
            state.visible >> (earlier - 1) & 1 == 1 || apart
        });
        if in_order || (config.unordered && other_rows) {
            step("a commit is visible", [commit, 0], &|next| {
                next.visible |= bit;
                if config.time > 0 {
                    next.visible_at[usize::from(commit) - 1] = next.now;
                }
            });
        }
    }
    if config.replica && state.replicated < config.commits && state.visible >> state.replicated & 1 == 1 {
        step("the replica has a commit", [state.replicated + 1, 0], &|next| next.replicated += 1);
    }
    if config.time > 0 && state.now <= config.time {
        step("time passes", [state.now + 1, 0], &|next| next.now += 1);
    }
    if state.evictions > 0 {
        for key in (0..config.keys).filter(|key| state.store.entries[usize::from(*key)] != Entry::default()) {
            step("an entry is evicted", [key, 0], &|next| {
                next.evictions -= 1;
                next.store.entries[usize::from(key)] = Entry::default();
            });
        }
    }
    if state.meta_evictions > 0 && state.store.meta.present {
        step("the meta is evicted", [0; 2], &|next| {
            next.meta_evictions -= 1;
            next.store.meta = Meta::default();
        });
    }
    if config.failover && state.failover == 0 {
        step("the store's replica stops here", [0; 2], &|next| (next.copy, next.failover) = (next.store, 1));
    }
    if state.failover == 1 {
        step("the store fails over", [0; 2], &|next| fail_over(config, next));
    }
}

fn fail_over(config: &Config, next: &mut State) {
    let invalidated = next.store.invalidated;
    (next.store, next.copy, next.failover) = (next.copy, Default::default(), 2);
    if !config.judges_survivors {
        next.store.invalidated = invalidated;
    }
    if config.one_connection {
        for invalidator in next.invalidators.iter_mut().filter(|invalidator| invalidator.on) {
            invalidator.step = OVER;
        }
    }
}
