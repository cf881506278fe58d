//! The visibility race: MySQL hands a commit to its log's readers before other sessions can see it.
//!
//! Each test runs with default durability (`sync_binlog=1`, `innodb_flush_log_at_trx_commit=1`). The gate must leave
//! nothing stale; without the gate the same test must find something stale, or it would prove nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cachefront::gate::OpenGate;
use cachefront::{Cache, Position, Tier};
use cachefront_testkit::server::MySql;
use cachefront_testkit::shop::{PATIENCE, Shop, applied};
use cachefront_testkit::{stack, wait};
use mysql_async::prelude::Queryable;

const DURABLE: [&str; 2] = ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];

/// Whether invalidations wait until their commits can be read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    On,
    Off,
}

/// What came of updating one key under the eyes of readers.
#[derive(Debug, Default)]
struct Outcome {
    commits: u64,
    stale: u64,
    hits: u64,
    reads: u64,
}

impl Outcome {
    fn hit_ratio(&self) -> f64 {
        self.hits as f64 / self.reads as f64
    }
}

/// Readers that hammer the key until they are told to stop.
struct Readers {
    stop: Arc<AtomicBool>,
    hits: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Readers {
    fn start(cache: &Cache<u64, u64>, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (hits, reads) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..count)
            .map(|_| {
                let (cache, stop) = (cache.clone(), Arc::clone(&stop));
                let (hits, reads) = (Arc::clone(&hits), Arc::clone(&reads));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let hit = cache.get(&1).detailed().await.expect("an answer");
                        reads.fetch_add(1, Ordering::Relaxed);
                        hits.fetch_add(u64::from(hit.tier != Tier::Database), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self { stop, hits, reads, tasks }
    }

    async fn stop(self, outcome: &mut Outcome) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a reader ends in peace");
        }
        outcome.hits = self.hits.load(Ordering::Relaxed);
        outcome.reads = self.reads.load(Ordering::Relaxed);
    }
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
            task.await.expect("a writer ends in peace");
        }
    }
}

/// Updates the key `commits` times; after each commit was applied, at rest, the cache must answer the new value.
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
    let readers = Readers::start(&cache, 8);
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
        let kept = cache.get(&1).await.expect("an answer");
        if kept != Some(expected) {
            outcome.stale += 1;
            if gate == Gate::Off {
                break;
            }
        }
    }
    others.stop().await;
    readers.stop(&mut outcome).await;
    shop.settle().await;
    let audit = shop.stale(&cache).await;
    assert!(gate == Gate::Off || audit.stale.is_empty(), "stale at rest: {audit:?}");
    cdc.shutdown().await;
    println!("{:?}: {outcome:?}, hit ratio {:.4}", gate, outcome.hit_ratio());
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_gate_nothing_is_stale_and_most_reads_hit() {
    let mysql = MySql::start(&DURABLE).await;
    let outcome = race(&mysql, Gate::On, 2_000, &[]).await;
    assert_eq!(outcome.stale, 0, "{outcome:?}");
    assert!(outcome.hit_ratio() >= 0.90, "{outcome:?}");
}

/// Semi-synchronous replication without a replica: each commit is in the log for three seconds before it is visible.
/// After the first timeout the server switches it off, so it is switched on before each commit.
const SEMISYNC_AGAIN: [&str; 2] =
    ["SET GLOBAL rpl_semi_sync_source_enabled = OFF", "SET GLOBAL rpl_semi_sync_source_enabled = ON"];

async fn with_semisync() -> MySql {
    let mysql = MySql::start(&DURABLE).await;
    mysql.execute("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'").await;
    mysql.execute("SET GLOBAL rpl_semi_sync_source_timeout = 3000").await;
    mysql.execute("SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'").await;
    mysql
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_gate_semisync_leaves_nothing_stale_either() {
    let mysql = with_semisync().await;
    let outcome = race(&mysql, Gate::On, 4, &SEMISYNC_AGAIN).await;
    assert_eq!(outcome.stale, 0, "{outcome:?}");
    assert!(outcome.hit_ratio() >= 0.90, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_the_same_tests_find_stale_entries() {
    let durable = race(&MySql::start(&DURABLE).await, Gate::Off, 2_000, &[]).await;
    println!("without the gate, default durability: stale after {} commits: {}", durable.commits, durable.stale);
    let semisync = race(&with_semisync().await, Gate::Off, 4, &SEMISYNC_AGAIN).await;
    println!("without the gate, semi-sync: stale after {} commits: {}", semisync.commits, semisync.stale);
    assert!(durable.stale + semisync.stale > 0, "the race did not show: the tests with the gate prove nothing");
}
