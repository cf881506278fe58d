//! Row images in place: a key that is written all the time stays a hit, and is never older than what was written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachefront::{Cache, Tier};
use cachefront_testkit::shop::Shop;
use mysql_async::prelude::Queryable;

/// Number of writes to the hot key.
const WRITES: u64 = 300;

/// What readers of a hot key got.
#[derive(Debug, Default)]
struct Outcome {
    reads: u64,
    loads: u64,
}

impl Outcome {
    fn hit_ratio(&self) -> f64 {
        1.0 - self.loads as f64 / self.reads as f64
    }
}

async fn hot_key(in_place: bool) -> Outcome {
    let shop = Shop::open(2).await;
    let table = format!("{}.item", shop.database.name());
    let builder = async || {
        let builder = shop.builder().await;
        let builder = if in_place { builder.refresh_in_place(table.as_str(), |row| row.get("value")) } else { builder };
        builder.build().expect("a cache")
    };
    // Two processes, and the invalidator of one of them.
    let caches: [Cache<u64, u64>; 2] = [builder().await, builder().await];
    let cdc = shop.run(&caches[0]).await;
    for cache in &caches {
        cache.get(&1).await.expect("a value");
    }
    let before = shop.loads_counted().await;
    let done = Arc::new(AtomicBool::new(false));
    let readers = caches.clone().map(|cache| {
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                cache.get(&1).await.expect("a value");
                reads += 1;
                // sleep: readers of a service come at their own pace.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            reads
        })
    });
    for number in 1..=WRITES {
        let token = shop.increment(1).await;
        if number % 50 == 0 {
            for cache in &caches {
                let mine = cache.get(&1).at_least(&token).await.expect("a value");
                assert_eq!(mine, Some(number + 1), "a session reads its own write");
            }
        }
        // sleep: a write every few milliseconds.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    shop.settle().await;
    done.store(true, Ordering::SeqCst);
    let mut outcome = Outcome::default();
    for reader in readers {
        outcome.reads += reader.await.expect("joined");
    }
    outcome.loads = shop.loads_counted().await - before;
    for cache in &caches {
        assert_eq!(cache.get(&1).await.expect("a value"), Some(WRITES + 1), "nothing stale at rest");
    }
    cdc.shutdown().await;
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_key_under_writes_stays_a_hit() {
    let (without, with) = (hot_key(false).await, hot_key(true).await);
    for (name, outcome) in [("removed", &without), ("replaced in place", &with)] {
        println!(
            "{WRITES} writes, {name}: {} reads, {} loads, hit ratio {:.4}",
            outcome.reads,
            outcome.loads,
            outcome.hit_ratio()
        );
    }
    assert!(with.loads * 4 < without.loads, "{with:?} against {without:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_change_leaves_the_value_of_the_row() {
    let shop = Shop::open(3).await;
    let table = format!("{}.item", shop.database.name());
    let cache = shop.builder().await.refresh_in_place(table.as_str(), |row| row.get("value")).build().expect("a cache");
    let _cdc = shop.run(&cache).await;
    for (statement, value, tier) in [
        ("UPDATE item SET value = 7 WHERE id = 1", Some(7), Tier::Shared),
        ("UPDATE item SET value = value + 1", Some(8), Tier::Shared),
        ("DELETE FROM item WHERE id = 1", None, Tier::Database),
        ("INSERT INTO item VALUES (1, 20)", Some(20), Tier::Database),
        ("UPDATE item SET id = 9 WHERE id = 1", None, Tier::Database),
        ("TRUNCATE TABLE item", None, Tier::Database),
    ] {
        for id in [1, 2] {
            cache.get(&id).await.expect("a value");
        }
        shop.database.execute(statement).await;
        shop.settle().await;
        let hit = cache.get(&1).detailed().await.expect("a value");
        assert_eq!((hit.value, hit.tier), (value, tier), "{statement}");
    }
}

/// The log has the rows of an XA transaction when it is prepared; readers get them when it is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_prepared_transaction_are_no_values() {
    let shop = Shop::open(1).await;
    let table = format!("{}.item", shop.database.name());
    let cache = shop.builder().await.refresh_in_place(table.as_str(), |row| row.get("value")).build().expect("a cache");
    let _cdc = shop.run(&cache).await;
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    for (xid, written, end, value) in [("1", 2, "XA ROLLBACK", 1), ("2", 7, "XA COMMIT", 7), ("3", 8, "XA COMMIT", 8)] {
        let before = cache.get(&1).await.expect("a value");
        let xid = format!("'{}','{xid}'", shop.database.name());
        let update = format!("UPDATE item SET value = {written} WHERE id = 1");
        for statement in [format!("XA START {xid}"), update, format!("XA END {xid}"), format!("XA PREPARE {xid}")] {
            conn.query_drop(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        shop.settle().await;
        assert_eq!(cache.get(&1).await.expect("a value"), before, "it is only prepared");
        conn.query_drop(format!("{end} {xid}")).await.expect("its end");
        shop.settle().await;
        assert_eq!(cache.get(&1).await.expect("a value"), Some(value), "after {end}");
    }
}
