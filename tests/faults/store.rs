//! The store restarts empty, comes back with an older state, or is away.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachefront::{CacheSettings, LoadCx, Loader, Local, Tier};
use cachefront_testkit::readers::{Readers, Reads};
use cachefront_testkit::server::Redis;
use cachefront_testkit::shop::{Items, PATIENCE, Shop};
use cachefront_testkit::{stack, wait};

use crate::load::write;
use crate::observed::observe;

const ROWS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_back_empty() {
    observe();
    let mut redis = Redis::start().await;
    let shop = Shop::open_on(&stack::mysql_url(), &redis.url(), ROWS).await;
    let cache = shop.builder().await.local(Local::max_weight(1 << 20)).build().expect("a cache");
    let cdc = shop.run(&cache).await;
    let readers = Readers::start(&cache, ROWS, 8);
    let (writer, done) = write(&shop, ROWS, 20_000);
    for kill_at in [5_000, 10_000] {
        wait::until("the writer is in the middle", PATIENCE, || done.load(Ordering::SeqCst) >= kill_at).await;
        redis.kill();
        redis.restart().await;
    }
    writer.await.expect("the writer ends without a panic");
    shop.settle().await;
    let Reads { done: reads, errors, .. } = readers.stop().await;
    let audit = shop.stale(&cache).await;
    println!("{reads} reads, {errors} errors, {} fresh, {} stale", audit.fresh, audit.stale.len());
    assert!(audit.stale.is_empty() && errors == 0, "{audit:?}");
    assert!(cdc.status().flushes_total >= 2, "the store did not lose its meta: the test proves nothing");
    wait::until_async("it is kept again", PATIENCE, async || {
        cache.get(&1).await.expect("an answer");
        cache.peek(&1).await.expect("an answer").is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_with_an_older_state_the_lost_invalidations_are_repeated() {
    observe();
    let mut redis = Redis::start().await;
    let shop = Shop::open_on(&stack::mysql_url(), &redis.url(), 100).await;
    let cache = shop.cache().await;
    let cdc = shop.run(&cache).await;
    for id in 1..=100 {
        cache.get(&id).await.expect("an answer");
    }
    let older = redis.save_rdb().await;
    for id in 1..=50 {
        shop.increment(id).await;
    }
    shop.settle().await;
    assert_eq!(shop.stale(&cache).await.absent, 50);
    redis.restart_from(&older).await;
    wait::until("the lost invalidations are repeated", PATIENCE, || cdc.status().rewinds_total == 1).await;
    shop.settle().await;
    let audit = shop.stale(&cache).await;
    assert!(audit.stale.is_empty(), "{audit:?}");
    assert_eq!((audit.fresh, audit.absent), (50, 50), "the older state did not come back: the test proves nothing");
}

/// Counts the loads that run at once.
struct Counted {
    items: Items,
    running: AtomicU64,
    most: Arc<AtomicU64>,
}

impl Loader<u64, u64> for Counted {
    type Error = mysql_async::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, mysql_async::Error> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let value = self.items.load(key, cx).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        value
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn away_for_ten_seconds_no_reader_notices_an_error() {
    let observed = observe();
    let mut redis = Redis::start().await;
    let shop = Shop::open_on(&stack::mysql_url(), &redis.url(), ROWS).await;
    let most = Arc::new(AtomicU64::new(0));
    let loader = Counted { items: Items::new(shop.pool.clone()), running: AtomicU64::new(0), most: Arc::clone(&most) };
    let mut settings = CacheSettings::default();
    settings.loads_max = 8;
    let cache = shop.builder().await.loader(loader).settings(settings).build().expect("a cache");
    let cdc = shop.run(&cache).await;
    let readers = Readers::start(&cache, ROWS, 32);
    let (writer, _) = write(&shop, ROWS, 20_000);
    wait::until("the cache is warm", PATIENCE, || readers.seen().done > 5_000).await;
    let failed_before = observed.metric("cachefront_store_errors_total", "item");
    redis.kill();
    let away = tokio::time::Instant::now();
    let before = readers.seen().done;
    // sleep: the outage is the fault under test, so its length is given.
    tokio::time::sleep_until(away + Duration::from_secs(10)).await;
    let during = readers.seen().done - before;
    let failed = observed.metric("cachefront_store_errors_total", "item") - failed_before;
    redis.restart().await;
    writer.await.expect("the writer ends without a panic");
    shop.settle().await;
    let Reads { done: reads, errors, .. } = readers.stop().await;
    let audit = shop.stale(&cache).await;
    println!("{reads} reads ({during} while the store was away), {errors} errors, at most {most:?} loads at once");
    assert!(errors == 0 && during > 1_000, "{errors} errors, {during} reads during the outage");
    assert!(failed > 0.0, "the outage does not show in the metrics");
    assert!(most.load(Ordering::SeqCst) <= 8, "the database was stampeded: {most:?}");
    assert!(audit.stale.is_empty(), "{audit:?}");
    assert!(cdc.status().flushes_total >= 2);
    wait::until_async("the store serves again", PATIENCE, async || {
        cache.get(&1).detailed().await.expect("an answer").tier == Tier::Shared
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_it_costs_time_and_nothing_else() {
    observe();
    let mut redis = Redis::start().await;
    let shop = Shop::open_on(&stack::mysql_url(), &redis.url(), 10).await;
    let cache = shop.cache().await;
    let _cdc = shop.run(&cache).await;
    cache.get(&1).await.expect("an answer");
    redis.freeze();
    let answer = tokio::time::timeout(Duration::from_secs(20), cache.get(&1).into_future()).await;
    assert_eq!(answer.expect("in time").expect("an answer"), Some(1));
    shop.increment(1).await;
    redis.resume();
    shop.settle().await;
    assert_eq!(cache.get(&1).await.expect("an answer"), Some(2));
    assert!(shop.stale(&cache).await.stale.is_empty());
}
