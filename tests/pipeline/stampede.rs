//! One load for each key, however many ask, in however many processes; and an invalidation that waits for no load.

use std::time::{Duration, Instant};

use cachefront::Tier;
use cachefront_testkit::actor::Actor;
use cachefront_testkit::shop::{Items, Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_misses_over_two_processes_load_once() {
    let shop = Shop::open(1).await;
    let cache = shop.cache().await;
    let _cdc = shop.run(&cache).await;
    let program = env!("CARGO_BIN_EXE_actor");
    let mut one = Actor::start(program, &["storm", "5000", "1", "200"], &shop).await;
    let mut two = Actor::start(program, &["storm", "5000", "1", "200"], &shop).await;
    let before = shop.loads_counted().await;
    one.go().await;
    two.go().await;
    assert_eq!(one.line().await, r#"{"Ok(Some(1))": 5000}"#);
    assert_eq!(two.line().await, r#"{"Ok(Some(1))": 5000}"#);
    assert_eq!(shop.loads_counted().await - before, 1);
}

/// The readers of the process that does not load wait for the other one, and ask for its lease once: the store wakes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_another_process_are_woken_by_the_store() {
    let shop = Shop::open(1).await;
    let cache = shop.cache().await;
    let _cdc = shop.run(&cache).await;
    let program = env!("CARGO_BIN_EXE_actor");
    let mut one = Actor::start(program, &["storm", "5000", "1", "200", "patient"], &shop).await;
    let mut two = Actor::start(program, &["storm", "5000", "1", "200", "patient"], &shop).await;
    let before = shop.loads_counted().await;
    one.go().await;
    two.go().await;
    for actor in [&mut one, &mut two] {
        // It comes within a minute, although they would wait for an hour.
        assert_eq!(actor.line().await, r#"{"Ok(Some(1))": 5000}"#);
        println!("5,000 readers: {}", actor.line().await);
    }
    assert_eq!(shop.loads_counted().await - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_during_a_slow_load_does_not_wait() {
    let shop = Shop::open(1).await;
    let slow = shop.builder().await.loader(Items::new(shop.pool.clone()).slow(Duration::from_secs(3)));
    let slow = slow.build().expect("a cache");
    let _cdc = shop.run(&slow).await;
    let begun = Instant::now();
    let before = shop.loads_counted().await;
    let old = tokio::spawn({
        let slow = slow.clone();
        async move { slow.get(&1).await }
    });
    cachefront_testkit::wait::until_async("the slow load has read the row", Duration::from_secs(5), async || {
        shop.loads_counted().await > before
    })
    .await;
    shop.increment(1).await;
    shop.settle().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "the invalidator was held up by the load");
    // Another process, and this one, read the new value while the old load still runs.
    let quick = shop.cache().await;
    assert_eq!(quick.get(&1).await.expect("an answer"), Some(2));
    let hit = slow.get(&1).detailed().await.expect("an answer");
    assert_eq!((hit.value, hit.tier), (Some(2), Tier::Shared));
    assert!(begun.elapsed() < Duration::from_secs(3), "later readers waited for the old load");
    old.await.expect("joined").expect("an answer");
    assert_eq!(quick.get(&1).await.expect("an answer"), Some(2));
}
