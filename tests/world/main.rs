//! A deterministic world around the cache, the invalidator and the bus: one thread, virtual time, and one seed that
//! decides everything that happens.
//!
//! Processes of several releases read at every level; clients commit; invalidators come, go, freeze and die; the store
//! and the database fail over; connections move each at its own time. An [`oracle`] that knows every commit judges every
//! answer, and when the faults have ended everything must be right ([`rest`]).
//!
//! `CACHEFRONT_WORLD_SEED`, `CACHEFRONT_WORLD_OPERATIONS` and `CACHEFRONT_WORLD_JOBS` choose what is run; of a world that
//! is wrong, `CACHEFRONT_WORLD_LINES` lines are shown.

#![expect(clippy::print_stdout, reason = "a long run says how far it is, and a world that is wrong shows its log")]

mod age;
mod bus;
mod caches;
mod clock;
mod config;
mod database;
mod faults;
mod features;
mod focus;
mod keys;
mod lives;
mod loader;
mod moment;
mod oracle;
mod process;
mod random;
mod readers;
mod removals;
mod rest;
mod runner;
mod server;
mod session;
mod source;
mod stage;
mod store;
mod trace;
mod world;
mod writer;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::runner::{Outcome, run};
use crate::world::Counts;

/// Operations of one world. Worlds are many and short: each has a configuration of its own.
const OPERATIONS_OF_A_WORLD: u64 = 4_000;

const OPERATIONS: u64 = 100_000;

/// The first seed: from here on everything that is counted happens within [`OPERATIONS`].
const SEED: u64 = 601;

/// A long run says how far it is after this many worlds.
const WORLDS_BETWEEN_NEWS: u64 = 2_500;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.replace('_', "").parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        Err(_) => default,
    }
}

/// What all worlds of a run came to.
#[derive(Default)]
struct Report {
    worlds: u64,
    counts: Counts,
    failed: Vec<Outcome>,
}

/// Runs worlds of `first` and the seeds after it, until this many operations are done.
fn run_worlds(first: u64, operations: u64, jobs: u64, failures_max: usize) -> Report {
    let (next, report, began) = (AtomicU64::new(0), Mutex::new(Report::default()), Instant::now());
    let worlds = operations.div_ceil(OPERATIONS_OF_A_WORLD);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let world = next.fetch_add(1, Ordering::Relaxed);
                    if world >= worlds || report.lock().expect("unpoisoned").failed.len() >= failures_max {
                        return;
                    }
                    let rest = operations - world * OPERATIONS_OF_A_WORLD;
                    let outcome = run(first + world, rest.min(OPERATIONS_OF_A_WORLD), None);
                    let mut report = report.lock().expect("unpoisoned");
                    report.worlds += 1;
                    if report.worlds.is_multiple_of(WORLDS_BETWEEN_NEWS) {
                        let (done, failed) = (report.counts.operations, report.failed.len());
                        println!("{done} operations in {:.0} s, {failed} violations", began.elapsed().as_secs_f64());
                    }
                    report.counts.add(&outcome.counts);
                    if let Some(violation) = outcome.violations.first() {
                        println!("seed {}: {violation}", outcome.seed);
                        report.failed.push(outcome);
                    }
                }
            });
        }
    });
    report.into_inner().expect("unpoisoned")
}

fn show(outcome: &Outcome) {
    let again = run(outcome.seed, outcome.operations, Some(number("CACHEFRONT_WORLD_LINES", 120) as usize));
    println!("seed {} is wrong after {} operations:", outcome.seed, outcome.counts.operations);
    for line in &again.last {
        println!("  {line}");
    }
    for violation in &outcome.violations {
        println!("  {violation}");
    }
    println!(
        "  replay: CACHEFRONT_WORLD_SEED={} CACHEFRONT_WORLD_OPERATIONS={} cargo test -p cachefront-world \
         every_answer_is_right_at_its_level -- --nocapture",
        outcome.seed, outcome.operations
    );
}

#[test]
fn every_answer_is_right_at_its_level() {
    let operations = number("CACHEFRONT_WORLD_OPERATIONS", OPERATIONS);
    let failures_max = number("CACHEFRONT_WORLD_FAILURES", 1) as usize;
    let jobs = number("CACHEFRONT_WORLD_JOBS", 2).max(1);
    let began = Instant::now();
    let report = run_worlds(number("CACHEFRONT_WORLD_SEED", SEED), operations, jobs, failures_max);
    let seconds = began.elapsed().as_secs_f64();
    let done = report.counts.operations;
    println!(
        "{} worlds, {done} operations, {:.0} operations/s, {} violations: {:?}",
        report.worlds,
        done as f64 / seconds,
        report.failed.len(),
        report.counts
    );
    if let Some(outcome) = report.failed.first() {
        show(outcome);
    }
    for outcome in report.failed.iter().skip(1) {
        println!("seed {}: {}", outcome.seed, outcome.violations.first().map_or("", |text| text));
    }
    assert!(report.failed.is_empty(), "{} worlds are wrong", report.failed.len());
    if operations >= OPERATIONS {
        report.counts.assert_lively();
    }
}

#[test]
fn a_seed_is_a_history() {
    for seed in 1..=6 {
        let (one, other) = (run(seed, 1_500, Some(0)), run(seed, 1_500, Some(0)));
        assert_eq!(one.hash, other.hash, "two runs of seed {seed} differ");
        assert_eq!(one.counts.operations, other.counts.operations);
        assert_ne!(one.hash, run(seed + 1_000, 1_500, Some(0)).hash);
    }
}
