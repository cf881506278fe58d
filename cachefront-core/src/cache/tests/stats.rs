//! The statistics of a cache.

use std::io;

use super::*;

#[tokio::test(start_paused = true)]
async fn statistics_count_reads_loads_and_evictions() {
    let fails = Arc::new(AtomicU64::new(0));
    let loader = crate::loader::loader_fn({
        let fails = Arc::clone(&fails);
        move |id: u64| {
            let failing = fails.load(Ordering::SeqCst) != 0;
            async move { if failing { Err(io::Error::other("away")) } else { Ok((id < 1_000).then_some(id)) } }
        }
    });
    let settings = CacheSettings::default().with_count_local_hits(true);
    let cache: Cache<u64, u64> = Cache::builder("counted")
        .settings(settings)
        .local(Local::max_weight(20_000))
        .loader(loader)
        .build()
        .expect("a cache");
    cache.get(&1).await.expect("a value");
    cache.get(&1).await.expect("a value");
    cache.get(&1).detailed().await.expect("a value");
    assert_eq!(cache.get_many([1, 5_000]).await.expect("values"), [Some(1), None]);
    let stats = cache.stats();
    assert_eq!((stats.hits_local, stats.hits_shared, stats.misses), (Some(3), 0, 2));
    assert_eq!((stats.loads, stats.load_errors, stats.bypassed, stats.evictions), (2, 0, 0, 0));
    assert_eq!(stats.local_entries, 2);
    assert!((2 * 128..2 * 200).contains(&stats.local_bytes), "{stats:?}");

    // The tier holds about a hundred of these; what it evicts is still in the store.
    cache.get_many(0..900).await.expect("values");
    let full = cache.stats();
    assert!(full.evictions >= 700 && full.local_entries < 200 && full.local_bytes <= 20_000, "{full:?}");
    cache.get_many(0..900).await.expect("values");
    let again = cache.stats();
    assert!(again.hits_shared >= 700, "{again:?}");
    assert_eq!(again.loads, full.loads);

    fails.store(1, Ordering::SeqCst);
    cache.get(&1).bypass().await.expect_err("the database is away");
    let failed = cache.stats();
    assert_eq!((failed.bypassed, failed.load_errors), (1, 1));
    let json = serde_json::to_value(failed).expect("JSON");
    assert_eq!((&json["load_errors"], &json["evictions"]), (&1.into(), &failed.evictions.into()));
}

#[tokio::test]
async fn hits_of_the_local_tier_are_not_counted_by_default() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let cache = builder(&store, &database)
        .mode(InvalidationMode::Ttl)
        .local(Local::max_weight(1 << 20))
        .build()
        .expect("a cache");
    cache.get(&7).await.expect("a value");
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Local);
    assert!(cache.inner.subscription.is_unlimited(), "a hit takes the shortest way");
    assert_eq!(cache.stats().hits_local, None);
}
