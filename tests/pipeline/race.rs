//! The visibility race: MySQL delivers a commit to log readers before other sessions can see it.
//!
//! Each test runs with default durability (`sync_binlog=1`, `innodb_flush_log_at_trx_commit=1`). The gate must leave
//! nothing stale; without the gate the same test must find something stale, or it would prove nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cachefront::Position;
use cachefront::gate::OpenGate;
use cachefront_testkit::readers::{Readers, Reads};
use cachefront_testkit::server::mysql::{DURABLE, MySql, SEMISYNC_AGAIN};
use cachefront_testkit::shop::{PATIENCE, Shop, applied};
use cachefront_testkit::{stack, wait};
use mysql_async::prelude::Queryable;

/// Commits after which the race must have shown itself; most often it takes some dozens.
const COMMITS_MAX: u64 = 20_000;

/// Whether invalidations wait until their commits can be read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    On,
    Off,
}

/// Reads between two commits: if each commit costs every one of the eight readers a load, more than nine of ten are hits.
const READS_PER_COMMIT: u64 = 100;

/// What came of updating one key under the eyes of readers.
#[derive(Debug, Default)]
struct Outcome {
    commits: u64,
    stale: u64,
    reads: Reads,
}

/// Writers of other rows: with them commits go in groups, and a commit waits longer between the log and the readers.
struct Others {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Others {
    fn start(shop: &Shop) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (2..=4_u64)
            .map(|id| {
                let (pool, stop) = (shop.pool.clone(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut conn = pool.get_conn().await.expect("a connection");
                    while !stop.load(Ordering::Relaxed) {
                        conn.exec_drop("UPDATE item SET value = value + 1 WHERE id = ?", (id,)).await.expect("updated");
                    }
                })
            })
            .collect();
        Self { stop, tasks }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a writer ends without a panic");
        }
    }
}

/// Updates the key `commits` times; after each commit was applied, at rest, the cache must return the new value.
#[expect(clippy::print_stdout, reason = "the figures of the race are part of the evidence")]
async fn race(mysql: &MySql, gate: Gate, commits: u64, before_commit: &[&str]) -> Outcome {
    let shop = Shop::open_on(&mysql.url(), &stack::redis_url(), 4).await;
    let cache = shop.cache().await;
    let mut cdc = shop.cdc(&cache).await;
    if gate == Gate::Off {
        cdc = cdc.gate(Arc::new(OpenGate));
    }
    let cdc = cdc.spawn().expect("an invalidator");
    cdc.ready().await.expect("the invalidator runs");
    let store = shop.store().await;
    let readers = Readers::start(&cache, 1, 8);
    let others = Others::start(&shop);
    let mut outcome = Outcome::default();
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    for _ in 0..commits {
        for statement in before_commit {
            conn.query_drop(*statement).await.expect("the statement is legal");
        }
        let token: Position = shop.increment(1).await;
        outcome.commits += 1;
        wait::until_async("the commit is applied", PATIENCE, async || {
            applied(&*store).await.is_some_and(|applied| applied.covers(&token))
        })
        .await;
        let expected = outcome.commits + 1;
        let kept = cache.get(&1).await.expect("a value");
        // How many reads fit between two commits depends on the machine, and with it the share of hits.
        let enough = readers.seen().done + READS_PER_COMMIT;
        wait::until("the readers go on", PATIENCE, || readers.seen().done >= enough).await;
        if kept != Some(expected) {
            outcome.stale += 1;
            if gate == Gate::Off {
                break;
            }
        }
    }
    others.stop().await;
    outcome.reads = readers.stop().await;
    assert_eq!(outcome.reads.errors, 0, "{outcome:?}");
    shop.settle().await;
    let audit = shop.stale(&cache).await;
    assert!(gate == Gate::Off || audit.stale.is_empty(), "stale at rest: {audit:?}");
    cdc.shutdown().await;
    println!("{:?}: {outcome:?}, hit ratio {:.4}", gate, outcome.reads.hit_ratio());
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_gate_nothing_is_stale_and_most_reads_hit() {
    let mysql = MySql::start(&DURABLE).await;
    let outcome = race(&mysql, Gate::On, 2_000, &[]).await;
    assert_eq!(outcome.stale, 0, "{outcome:?}");
    assert!(outcome.reads.hit_ratio() >= 0.90, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_gate_semisync_leaves_nothing_stale_either() {
    let mysql = MySql::start_semisync().await;
    let outcome = race(&mysql, Gate::On, 4, &SEMISYNC_AGAIN).await;
    assert_eq!(outcome.stale, 0, "{outcome:?}");
    assert!(outcome.reads.hit_ratio() >= 0.90, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_default_durability_leaves_a_stale_entry() {
    let outcome = race(&MySql::start(&DURABLE).await, Gate::Off, COMMITS_MAX, &[]).await;
    println!("without the gate, default durability: stale after {} commits", outcome.commits);
    assert!(outcome.stale > 0, "the race did not show: the test with the gate proves nothing, {outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_semisync_leaves_a_stale_entry() {
    let outcome = race(&MySql::start_semisync().await, Gate::Off, 4, &SEMISYNC_AGAIN).await;
    println!("without the gate, semi-sync: stale after {} commits", outcome.commits);
    assert!(outcome.stale > 0, "the race did not show: the test with the gate proves nothing, {outcome:?}");
}
