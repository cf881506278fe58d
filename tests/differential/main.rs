//! The store in memory and the one in Redis answer alike, whatever happens in whatever order.
//!
//! Random histories of operations run on both, step by step; every reply is compared, times apart. A failure prints the
//! shortest history that shows it.

mod history;
mod pair;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use proptest::test_runner::{Config, TestRunner};

use history::histories;
use pair::{Pair, Place};

/// What must have been seen in all histories together; else they were too tame to prove anything.
const REPLIES: &[&str] = &[
    "granted",
    "present",
    "held",
    "no meta",
    "not covered",
    "stored",
    "lease_broken",
    "generation_changed",
    "no_meta",
    "done",
    "conflict",
    "missing",
    "suspended",
    "live",
];

fn run(place: Place, shards: u32, cases: u32) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let seen = Mutex::new(BTreeSet::new());
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&histories(), |history| {
        let replies = runtime.block_on(async {
            let mut pair = Pair::new(place, shards).await;
            let mut replies = BTreeSet::new();
            for step in &history {
                replies.insert(pair.step(step).await?);
            }
            replies.insert(pair.compare_all().await?);
            Ok::<_, proptest::test_runner::TestCaseError>(replies)
        })?;
        seen.lock().unwrap_or_else(PoisonError::into_inner).extend(replies);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let seen = seen.into_inner().expect("no panic");
    let unseen: Vec<_> = REPLIES.iter().filter(|reply| !seen.contains(**reply)).collect();
    assert!(unseen.is_empty(), "these replies never came: {unseen:?}");
}

#[test]
fn one_shard_replies_alike() {
    run(Place::Server, 1, 300);
}

#[test]
fn several_shards_answer_alike() {
    run(Place::Server, 3, 200);
}

#[test]
fn a_cluster_replies_alike() {
    run(Place::Cluster, 5, 100);
}
