//! The invalidator dies, or misses a part of the log.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cachefront::Tier;
use cachefront_testkit::actor::Actor;
use cachefront_testkit::readers::{Readers, Reads};
use cachefront_testkit::server::MySql;
use cachefront_testkit::shop::Shop;
use cachefront_testkit::{stack, wait};

use crate::load::write;
use crate::observed::observe;

const ROWS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_a_hundred_thousand_updates() {
    observe();
    let shop = Shop::open(ROWS).await;
    let cache = shop.cache().await;
    let program = env!("CARGO_BIN_EXE_actor");
    let mut consumer = Actor::start(program, &["consumer"], &shop).await;
    let readers = Readers::start(&cache, ROWS, 8);
    let (writer, done) = write(&shop, ROWS, 100_000);
    for kill_at in [20_000, 50_000, 80_000] {
        wait::until("the writer is in the middle", Duration::from_secs(240), || done.load(Ordering::SeqCst) >= kill_at)
            .await;
        consumer.kill().await;
        consumer = Actor::start(program, &["consumer"], &shop).await;
    }
    writer.await.expect("the writer ends without a panic");
    shop.settle().await;
    let Reads { done: reads, errors, .. } = readers.stop().await;
    let audit = shop.stale(&cache).await;
    println!(
        "{reads} reads, {errors} errors, {} fresh, {} absent, {} stale",
        audit.fresh,
        audit.absent,
        audit.stale.len()
    );
    assert!(audit.stale.is_empty() && errors == 0, "{audit:?}");
    assert!(audit.fresh > 0, "nothing was cached: the test proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_purged_while_the_consumer_was_down_voids_everything() {
    let observed = observe();
    let mysql = MySql::start(&[]).await;
    let shop = Shop::open_on(&mysql.url(), &stack::redis_url(), 10).await;
    let cache = shop.cache().await;
    shop.run(&cache).await.shutdown().await;
    for id in 1..=10 {
        cache.get(&id).await.expect("an answer");
    }
    for id in 1..=5 {
        shop.increment(id).await;
    }
    assert_eq!(shop.stale(&cache).await.stale.len(), 5, "nothing became stale: the test proves nothing");
    mysql.purge_binlogs().await;
    let said = || observed.lines_with(&["changes were lost", &format!(":{}", mysql.port())]).len();
    let before = said();
    let cdc = shop.run(&cache).await;
    shop.settle().await;
    let audit = shop.stale(&cache).await;
    assert!(audit.stale.is_empty(), "{audit:?}");
    assert_eq!(cdc.status().flushes_total, 1);
    assert_eq!(said() - before, 1, "{:?}", observed.lines_with(&["changes were lost"]));
    assert_eq!(cache.get(&1).detailed().await.expect("an answer").tier, Tier::Database);
    assert_eq!(cache.get(&1).detailed().await.expect("an answer").tier, Tier::Shared);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_killed_and_restarted_under_a_running_consumer() {
    observe();
    let mut mysql = MySql::start(&["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]).await;
    let shop = Shop::open_on(&mysql.url(), &stack::redis_url(), 10).await;
    let cache = shop.cache().await;
    let _cdc = shop.run(&cache).await;
    for id in 1..=10 {
        cache.get(&id).await.expect("an answer");
    }
    shop.increment(1).await;
    mysql.kill();
    mysql.restart().await;
    shop.increment(2).await;
    shop.settle().await;
    let audit = shop.stale(&cache).await;
    assert!(audit.stale.is_empty(), "{audit:?}");
    assert_eq!(cache.get(&2).await.expect("an answer"), Some(2));
}
