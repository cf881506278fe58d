//! A cache whose runtime is driven for one call at a time, or not at all: no task of it runs, and time ends its values all the same.

use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use super::*;

const SHORT: Duration = Duration::from_millis(50);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Waits on a thread without a runtime.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WAIT_MAX, "{what}");
        std::thread::yield_now();
    }
}

/// A cache in CDC mode whose process-local tier has the value; nothing drives its runtime any more.
fn following(settings: CacheSettings) -> (Runtime, Cache<u64, u64>) {
    let (runtime, database) = (runtime(), Database::free());
    let cache = runtime.block_on(async {
        let store = Arc::new(MemoryStore::new("t"));
        let mut invalidator = ManualInvalidator::begin(&store).await;
        let builder = builder(&store, &database).local(Local::max_weight(1 << 20)).settings(settings);
        let cache = builder.build().expect("a cache");
        // On a busy machine the time may be over before the tier has the value.
        while cache.inner.local_get(&7).is_none() {
            invalidator.source_time = SystemClock::new().now();
            invalidator.commit().await;
            followed(&cache, &mut invalidator).await;
            cache.get(&7).await.expect("a value");
        }
        cache
    });
    (runtime, cache)
}

#[test]
fn a_tier_whose_runtime_is_not_driven_serves_no_expired_value() {
    let (runtime, database) = (runtime(), Database::free());
    let get = |cache: &Cache<u64, u64>| runtime.block_on(async { cache.get(&7).await }).expect("a value");
    let cache = runtime.block_on(async {
        let local = Local::max_weight(1 << 20).ttl(SHORT);
        Cache::builder("row").local(local).ttl(SHORT).loader(database.clone()).build().expect("a cache")
    });
    assert_eq!(get(&cache), Some(1));
    database.write(2);
    wait_for("the value expires", || get(&cache) == Some(2));
    wait_for("the tier is on", || get(&cache).is_some() && cache.inner.local_get(&7).is_some());
}

#[test]
fn a_tier_whose_runtime_is_not_driven_meets_the_objective() {
    let settings = CacheSettings::default()
        .with_bus_silence_max(Duration::from_secs(3_600))
        .with_freshness_objective(CacheSettings::default().clock_skew + 4 * SHORT)
        .with_on_lag(crate::settings::OnLag::Bypass);
    let (_runtime, cache) = following(settings);
    wait_for("the objective is over", || cache.inner.local_get(&7).is_none());
    assert!(cache.inner.subscription.is_lagging());
}

#[test]
fn a_tier_whose_runtime_is_not_driven_hears_the_silence() {
    let settings = CacheSettings::default().with_bus_silence_max(SHORT).with_on_lag(crate::settings::OnLag::Serve);
    let (runtime, cache) = following(settings);
    wait_for("the tier is off", || !cache.inner.subscription.is_local_on());
    assert!(cache.inner.local_get(&7).is_none());
    let hit = runtime.block_on(async { cache.get(&7).detailed().await }).expect("a value");
    assert_eq!(hit.tier, Tier::Shared);
}
