//! A commit by another program makes exactly its key miss, within milliseconds; every level of freshness is proven.
//!
//! The laws are the same whichever way the changes come: by the binary log, or by Debezium and Kafka.

use std::time::{Duration, Instant};

use cachefront::binlog::{commit_token, own_commit_token};
use cachefront::{Position, Tier};
use cachefront_testkit::connector::Servers;
use cachefront_testkit::shop::{PATIENCE, Shop, applied};
use cachefront_testkit::wait;
use hdrhistogram::Histogram;
use mysql_async::prelude::Queryable;

macro_rules! laws {
    ($($law:ident: $rows:literal)*) => {
        mod binlog {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                super::$law(Shop::open($rows).await).await;
            })*
        }

        mod kafka {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                super::$law(Shop::open($rows).await.over_kafka(&Servers::shared()).await).await;
            })*
        }
    };
}

laws! {
    every_kind_of_change_makes_exactly_its_key_miss: 5
    truncate_and_ddl_void_the_table: 3
    a_commit_is_evicted_within_milliseconds: 10
    a_writer_reads_its_own_writes_at_once_and_a_bound_is_kept: 1
    the_token_of_ones_own_write_is_small_and_enough: 2
}

async fn every_kind_of_change_makes_exactly_its_key_miss(shop: Shop) {
    let cache = shop.cache().await;
    let _cdc = shop.run(&cache).await;
    for statement in [
        "UPDATE item SET value = 7 WHERE id = 1",
        "DELETE FROM item WHERE id = 1",
        "INSERT INTO item VALUES (1, 8)",
        "REPLACE INTO item VALUES (1, 9)",
        "UPDATE item SET id = 100 WHERE id = 1",
        "UPDATE item SET id = 1 WHERE id = 100",
    ] {
        for id in [1, 2, 100] {
            cache.get(&id).await.expect("an answer");
            assert_ne!(cache.get(&id).detailed().await.expect("an answer").tier, Tier::Database, "{statement}");
        }
        shop.database.execute(statement).await;
        shop.settle().await;
        let mut conn = shop.pool.get_conn().await.expect("a connection");
        let row: Option<u64> = conn.query_first("SELECT value FROM item WHERE id = 1").await.expect("a row");
        let hit = cache.get(&1).detailed().await.expect("an answer");
        assert_eq!((hit.value, hit.tier), (row, Tier::Database), "{statement}");
        assert_eq!(cache.get(&2).detailed().await.expect("an answer").tier, Tier::Shared, "{statement}");
    }
}

async fn truncate_and_ddl_void_the_table(shop: Shop) {
    let cache = shop.cache().await;
    let _cdc = shop.run(&cache).await;
    for (statement, value) in [
        ("TRUNCATE TABLE item", None),
        ("ALTER TABLE item ADD COLUMN note INT NOT NULL DEFAULT 4 FIRST", None),
        ("INSERT INTO item (id, value) VALUES (1, 5)", Some(5)),
    ] {
        cache.get(&1).await.expect("an answer");
        shop.database.execute(statement).await;
        shop.settle().await;
        let hit = cache.get(&1).detailed().await.expect("an answer");
        assert_eq!((hit.value, hit.tier), (value, Tier::Database), "{statement}");
    }
}

#[expect(clippy::print_stdout, reason = "the figure is what the test is read for")]
async fn a_commit_is_evicted_within_milliseconds(shop: Shop) {
    let cache = shop.cache().await;
    let _cdc = shop.run(&cache).await;
    let store = shop.store().await;
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    let mut micros = Histogram::<u64>::new(3).expect("a histogram");
    for round in 0..1_000_u64 {
        let id = round % 10 + 1;
        cache.get(&id).await.expect("an answer");
        conn.exec_drop("UPDATE item SET value = value + 1 WHERE id = ?", (id,)).await.expect("updated");
        let committed = Instant::now();
        while cache.peek(&id).await.expect("the store replies").is_some_and(|hit| hit.value != Some(round / 10 + 2)) {
            assert!(committed.elapsed() < PATIENCE, "key {id} is not evicted");
        }
        micros.record(committed.elapsed().as_micros() as u64).expect("recorded");
    }
    assert!(applied(&*store).await.is_some());
    println!(
        "commit → evicted over 1,000 commits ({}): p50 {} µs, p99 {} µs, max {} µs",
        if shop.connector.is_some() { "Debezium and Kafka" } else { "binary log" },
        micros.value_at_quantile(0.50),
        micros.value_at_quantile(0.99),
        micros.max()
    );
    assert!(micros.value_at_quantile(0.50) < 1_000_000, "not within any bound that deserves the name");
}

async fn a_writer_reads_its_own_writes_at_once_and_a_bound_is_kept(shop: Shop) {
    let (cache, other) = (shop.cache().await, shop.cache().await);
    let _cdc = shop.run(&cache).await;
    for round in 2..200_u64 {
        other.get(&1).await.expect("an answer");
        let token: Position = shop.increment(1).await;
        let read = other.get(&1).at_least(&token).await.expect("an answer");
        assert_eq!(read, Some(round));
    }
    shop.settle().await;
    cache.get(&1).await.expect("an answer");
    wait::until_async("a bound is proven by the watermark without a load", PATIENCE, async || {
        let hit = cache.get(&1).max_staleness(Duration::from_secs(2)).detailed().await.expect("an answer");
        hit.tier == Tier::Shared && hit.staleness_bound.is_some_and(|bound| bound <= Duration::from_secs(2))
    })
    .await;
}

/// Two caches over two connections to the store stand for two processes; another program commits all the time.
async fn the_token_of_ones_own_write_is_small_and_enough(shop: Shop) {
    let (cache, other) = (shop.cache().await, shop.cache().await);
    let _cdc = shop.run(&cache).await;
    let mut busy = shop.pool.get_conn().await.expect("a connection");
    let traffic = tokio::spawn(async move {
        loop {
            busy.query_drop("UPDATE item SET value = value + 1 WHERE id = 2").await.expect("updated");
        }
    });
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    let mut session = Position::new();
    for round in 2..200_u64 {
        other.get(&1).await.expect("an answer");
        conn.exec_drop("UPDATE item SET value = value + 1 WHERE id = 1", ()).await.expect("updated");
        let token = own_commit_token(&mut conn).await.expect("a token");
        assert!(token.to_string().len() < 64, "{token}");
        let read = other.get(&1).at_least(&token).await.expect("an answer");
        assert_eq!(read, Some(round));
        session.union(&token);
    }
    traffic.abort();
    let all = commit_token(&mut conn).await.expect("a token");
    assert!(all.covers(&session) && !session.covers(&all), "only this session's commits");
    let read = cache.get_many([1, 1]).at_least(&session).await.expect("an answer");
    assert_eq!(read, [Some(199), Some(199)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_created_again_is_covered_again() {
    let shop = Shop::open(1).await;
    let cache = shop.cache().await;
    let cdc = shop.run(&cache).await;
    let is_covered = async |expected: bool| {
        let what = if expected { "the cache is covered" } else { "the cache is not covered" };
        wait::until_async(what, PATIENCE, async || cdc.status().not_covered.is_empty() == expected).await;
    };
    for create in ["CREATE TABLE", "CREATE TABLE IF NOT EXISTS"] {
        cache.get(&1).await.expect("an answer");
        shop.database.execute("DROP TABLE item").await;
        is_covered(false).await;
        let columns = "(id BIGINT UNSIGNED PRIMARY KEY, value BIGINT UNSIGNED NOT NULL)";
        shop.database.execute(&format!("{create} item {columns}")).await;
        is_covered(true).await;
        shop.database.execute("INSERT INTO item VALUES (1, 5)").await;
        shop.settle().await;
        assert_eq!(cache.get(&1).await.expect("an answer"), Some(5));
        assert_eq!(cache.get(&1).detailed().await.expect("an answer").tier, Tier::Shared, "{create}");
    }
}
