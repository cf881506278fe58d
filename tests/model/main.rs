//! Every configuration of the protocol: those that hold, and those from which a mechanism was removed, which must not.
//!
//! `CACHEFRONT_MODEL_STATES` is the maximum number of states of a configuration that holds; `CACHEFRONT_MODEL_ONLY` chooses
//! configurations by the beginning of their name.

#![expect(clippy::print_stdout, reason = "a table of what was visited")]

mod core;
mod parts;

use std::time::Instant;

use cachefront_model::check::{Machine, Outcome, run};

/// States of a configuration that holds, where nothing else is asked for: enough to be quick.
const STATES: usize = 100_000;

/// States within which a removed mechanism must be noticed.
const STATES_TO_FIND: usize = 1_500_000;

/// What is checked together: its rows are printed.
pub(crate) struct Table {
    states: usize,
    only: String,
    wrong: Vec<String>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let states = std::env::var("CACHEFRONT_MODEL_STATES").ok().map(|text| text.replace('_', ""));
        let states = states.map_or(STATES, |text| text.parse().expect("CACHEFRONT_MODEL_STATES is a number"));
        Self { states, only: std::env::var("CACHEFRONT_MODEL_ONLY").unwrap_or_default(), wrong: Vec::new() }
    }

    /// Demands that no state is bad.
    pub(crate) fn holds(&mut self, name: &str, what: &str, machine: impl Machine) {
        if !name.starts_with(&self.only) {
            return;
        }
        let (outcome, time) = timed(machine, self.states);
        let bound = if outcome.complete { "all" } else { "bounded" };
        println!("{name:5} holds  {:>9} states ({bound}), {time:.1} s: {what}", outcome.states);
        if let Some((letter, trace)) = outcome.wrong {
            self.wrong.push(format!("{name} {what}: {letter}\n  {}", trace.join("\n  ")));
        }
    }

    /// Demands that one of these states is found: without the mechanism the protocol is wrong.
    pub(crate) fn fails(&mut self, name: &str, letters: &[&str], what: &str, machine: impl Machine) {
        if !name.starts_with(&self.only) {
            return;
        }
        let (outcome, time) = timed(machine, STATES_TO_FIND);
        let found = outcome.wrong.as_ref().map_or("nothing", |(letter, _)| letter);
        let steps = outcome.wrong.as_ref().map_or(0, |(_, trace)| trace.len());
        println!("{name:5} fails  {:>9} states, {time:.1} s: {found} in {steps} steps: {what}", outcome.states);
        if !letters.contains(&found) {
            self.wrong.push(format!("{name} {what}: {found}, and {letters:?} is expected"));
        }
    }

    /// Panics if anything was not as demanded.
    pub(crate) fn done(self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

fn timed(machine: impl Machine, states: usize) -> (Outcome, f64) {
    let begun = Instant::now();
    let outcome = run(machine, states);
    (outcome, begun.elapsed().as_secs_f64())
}
