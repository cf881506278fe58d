//! `memory_per_entry`: bytes of memory that an entry of the process-local tier takes, `u64` to 100 bytes.
//!
//! Two processes hold the same entries in the in-memory store, one of them in its own tier, too. What the second one is
//! larger by is the tier's. Each measures itself, so nothing that was freed before is used again.

use std::process::Command;

use clap::ValueEnum;

use crate::l1_hit::Payload;
use crate::ratio::{Plan, Ratio};
use crate::world::World;

const ENTRIES: u64 = 200_000;

/// What a process of this program's own holds.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Holder {
    Store,
    StoreAndTier,
}

pub(crate) fn measure(plan: Plan) -> Vec<Ratio> {
    let rounds = (0..plan.rounds).map(|_| (grown(Holder::StoreAndTier) - grown(Holder::Store), ENTRIES as f64));
    vec![Ratio::new("memory_per_entry", "bytes", rounds.collect())]
}

/// By how many bytes a process grows that holds the entries.
fn grown(holder: Holder) -> f64 {
    let name = holder.to_possible_value().expect("no variant is hidden").get_name().to_owned();
    let program = std::env::current_exe().expect("this program's own path");
    let output = Command::new(program).args(["--hold", &name]).output().expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().parse().unwrap_or_else(|_| panic!("no number: {text} {}", String::from_utf8_lossy(&output.stderr)))
}

/// Fills a cache, and returns by how many bytes this process has grown.
pub(crate) async fn hold(holder: Holder) -> f64 {
    let world = match holder {
        Holder::Store => World::in_store(Payload::new).await,
        Holder::StoreAndTier => World::in_process(Payload::new).await,
    };
    // What the first reads set up is no entry's.
    world.warm(0..1_000).await;
    let before = resident();
    world.warm(1_000..1_000 + ENTRIES).await;
    resident() - before
}

/// Memory of this process that is in use, in bytes.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("this system tells");
    let pages: f64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * rustix::param::page_size() as f64
}
