//! The visibility race over Kafka: with semi-synchronous replication a commit is on Kafka seconds before it is readable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cachefront::gate::OpenGate;
use cachefront::{Cache, Tier};
use cachefront_testkit::connector::Servers;
use cachefront_testkit::server::kafka::Topics;
use cachefront_testkit::server::{Connect, MySql};
use cachefront_testkit::shop::{PATIENCE, Shop};
use cachefront_testkit::{stack, wait};
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::traffic::{applies, say};

/// Without a replica each commit is in the log for three seconds before it is visible. After the first timeout the server
/// disables semi-synchronous replication, so it is enabled again before each commit.
const SEMISYNC_AGAIN: [&str; 2] =
    ["SET GLOBAL rpl_semi_sync_source_enabled = OFF", "SET GLOBAL rpl_semi_sync_source_enabled = ON"];

async fn with_semisync() -> MySql {
    let mysql = MySql::start(&["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]).await;
    mysql.execute("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'").await;
    mysql.execute("SET GLOBAL rpl_semi_sync_source_timeout = 3000").await;
    mysql.execute("SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'").await;
    mysql
}

/// Readers of row 1, until they are stopped.
struct Readers {
    stop: Arc<AtomicBool>,
    hits: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(cache: &Cache<u64, u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (hits, reads) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let read = |cache: Cache<u64, u64>| {
            let (stop, hits, reads) = (Arc::clone(&stop), Arc::clone(&hits), Arc::clone(&reads));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let hit = cache.get(&1).detailed().await.expect("a value");
                    reads.fetch_add(1, Ordering::Relaxed);
                    hits.fetch_add(u64::from(hit.tier != Tier::Database), Ordering::Relaxed);
                    // sleep: paces the reader, waits for no condition.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let tasks = (0..4).map(|_| tokio::spawn(read(cache.clone()))).collect();
        Self { stop, hits, reads, tasks }
    }

    /// Stops them, and returns the hit ratio.
    async fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("the reader does not panic");
        }
        self.hits.load(Ordering::Relaxed) as f64 / self.reads.load(Ordering::Relaxed) as f64
    }
}

/// Updates row 1 so that it is on Kafka now and visible after three seconds. Returns the task that commits.
async fn update_invisibly(shop: &Shop) -> JoinHandle<()> {
    let connector = shop.connector.as_ref().expect("a connector");
    let (topics, topic) = (Topics::of(connector.brokers()), connector.topic("item"));
    let end = topics.end(&topic, 0);
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    for statement in SEMISYNC_AGAIN {
        conn.query_drop(statement).await.expect("the statement succeeds");
    }
    let committing = tokio::spawn(async move {
        conn.query_drop("UPDATE item SET value = value + 1 WHERE id = 1").await.expect("the row is updated");
    });
    wait::until("the change is on Kafka", PATIENCE, || topics.end(&topic, 0) > end).await;
    committing
}

/// Updates row 1 until that is on Kafka before it is visible. Returns the task that commits, and the visible value.
///
/// The connector's heartbeat is a commit, too: if it waits for a replica, the connector reads on only when all are visible.
async fn commit_on_kafka_first(shop: &Shop) -> (JoinHandle<()>, u64) {
    for _ in 0..6 {
        let before = shop.value(1).await;
        let committing = update_invisibly(shop).await;
        if !committing.is_finished() && shop.value(1).await == before {
            return (committing, before);
        }
        committing.await.expect("the commit succeeds");
    }
    panic!("no commit was on Kafka before it was visible: the test proves nothing");
}

/// Updates row 1 `commits` times under concurrent reads. Returns how often an old value was served at rest.
async fn race(shop: &Shop, commits: u64, gated: bool) -> u64 {
    let cache = shop.cache().await;
    let cdc = shop.cdc(&cache).await;
    let cdc = if gated { cdc } else { cdc.gate(Arc::new(OpenGate)) };
    let cdc = cdc.spawn().expect("an invalidator");
    cdc.ready().await.expect("the invalidator runs");
    let readers = Readers::start(&cache);
    let (mut stale, mut early) = (0, 0);
    for _ in 0..commits {
        let since = Instant::now();
        let committing = update_invisibly(shop).await;
        early += u64::from(!committing.is_finished());
        committing.await.expect("the commit succeeds");
        let visible = since.elapsed();
        let mut conn = shop.pool.get_conn().await.expect("a connection");
        let (token, _) = cachefront::binlog::read_position(&mut conn).await.expect("a position");
        applies(shop, &token).await;
        let kept = cache.get(&1).await.expect("a value");
        let is_stale = kept != Some(shop.value(1).await);
        stale += u64::from(is_stale);
        say(&format!(
            "gate {gated}: visible after {visible:.1?}, applied after {:.1?}, stale: {is_stale}",
            since.elapsed()
        ));
        if is_stale {
            break;
        }
    }
    assert!(early > 0, "no commit was on Kafka before it was visible: the test proves nothing");
    let hit_ratio = readers.stop().await;
    say(&format!("gate {gated}: {stale} stale of {commits}, {:.0} % of the reads hit", hit_ratio * 100.0));
    cdc.shutdown().await;
    stale
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_visible_yet_leaves_no_stale_entry() {
    let mysql = with_semisync().await;
    let brokers = stack::kafka_brokers();
    let connect = Connect::start(&brokers).await;
    let servers = Servers::private(connect.rest(), &brokers, &mysql.url());
    let shop = Shop::open_on(&mysql.url(), &stack::redis_url(), 4).await.over_kafka(&servers).await;

    // A generation begins while a commit is on Kafka and not in the server's executed set. That takes a while on a busy
    // machine, so the commit stays invisible for longer.
    mysql.execute("SET GLOBAL rpl_semi_sync_source_timeout = 25000").await;
    let cache = shop.cache().await;
    let (committing, before) = commit_on_kafka_first(&shop).await;
    let cdc = shop.run(&cache).await;
    let old = cache.get(&1).await.expect("a value");
    let visible = committing.is_finished();
    assert!(!visible && old == Some(before), "the test proves nothing: the commit ended: {visible}, {old:?} was read");
    committing.await.expect("the commit succeeds");
    shop.settle().await;
    assert_eq!(cache.get(&1).await.expect("a value"), Some(before + 1), "the new generation missed a commit");
    cdc.shutdown().await;

    mysql.execute("SET GLOBAL rpl_semi_sync_source_timeout = 3000").await;
    assert_eq!(race(&shop, 3, true).await, 0);
    assert!(race(&shop, 3, false).await > 0, "the race does not show without the gate: the test proves nothing");
}
