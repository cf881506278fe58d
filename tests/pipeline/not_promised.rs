//! What is not promised, each shown by a test: so that a change of it is noticed.

use std::time::Duration;

use cachefront::Tier;
use cachefront_testkit::shop::Shop;
use cachefront_testkit::wait;
use mysql_async::prelude::Queryable;

/// Such a write is in no log, so that nothing that follows the log can know of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_sql_log_bin_off_is_not_noticed() {
    let shop = Shop::open(1).await;
    let cache = shop.cache().await;
    let _cdc = shop.run(&cache).await;
    let before = cache.get(&1).await.expect("a value");
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    conn.query_drop("SET SESSION sql_log_bin = 0").await.expect("the right to do so");
    conn.query_drop("UPDATE item SET value = value + 1 WHERE id = 1").await.expect("an update");
    shop.increment(1).await;
    shop.settle().await;
    assert_ne!(cache.get(&1).await.expect("a value"), before, "a logged write is noticed");
    let before = cache.get(&1).await.expect("a value");
    conn.query_drop("UPDATE item SET value = value + 1 WHERE id = 1").await.expect("an update");
    shop.settle().await;
    let hit = cache.get(&1).max_staleness(Duration::from_secs(5)).detailed().await.expect("a value");
    assert_ne!(hit.tier, Tier::Database);
    assert_eq!(hit.value, before, "the unlogged one is not, whatever is proven");
}

/// Each key is read by itself: a transaction over two rows may be seen in one and not yet in the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_values_of_two_keys_may_be_of_two_moments() {
    let shop = Shop::open(2).await;
    let cache = shop.cache().await;
    let cdc = shop.run(&cache).await;
    let old = cache.get(&1).await.expect("a value").expect("a row");
    cdc.shutdown().await;
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    conn.query_drop("UPDATE item SET value = value + 7").await.expect("one transaction over both rows");
    let both = cache.get_many([1_u64, 2]).await.expect("values");
    assert_eq!(both[0], Some(old), "cached before the transaction");
    assert_eq!(both[1], Some(shop.value(2).await), "loaded after it");
    let _cdc = shop.run(&cache).await;
    wait::until_async("both are of one moment again", cachefront_testkit::shop::PATIENCE, || async {
        let both = cache.get_many([1_u64, 2]).await.expect("values");
        both[0] == Some(shop.value(1).await) && both[1] == Some(shop.value(2).await)
    })
    .await;
}
