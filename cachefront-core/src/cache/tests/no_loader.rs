//! Caches without a loader: only `get_or_load` can load.

use super::*;
use crate::settings::BreakerSettings;

fn cache(settings: CacheSettings) -> Cache<u64, u64> {
    Cache::builder("row").settings(settings).build().expect("a cache")
}

/// Starts a load of `key` from `database` that waits there.
async fn slow(cache: &Cache<u64, u64>, key: u64, database: &Database) -> tokio::task::JoinHandle<Option<u64>> {
    let (cache, loader) = (cache.clone(), database.clone());
    let load = tokio::spawn(async move {
        let load = move |cx: Arc<LoadCx>| async move { loader.load(&key, &cx).await };
        cache.get_or_load(&key, load).await.expect("a value")
    });
    database.0.reading.notified().await;
    load
}

async fn own(_: Arc<LoadCx>) -> Result<Option<u64>, std::io::Error> {
    Ok(Some(5))
}

#[tokio::test]
async fn a_read_that_cannot_load_leads_no_load_that_others_join() {
    let (cache, database) = (cache(CacheSettings::default().with_loads_max(1)), Database::default());
    // The only permit is taken: a load of another key waits.
    let slow = slow(&cache, 1, &database).await;
    let read = tokio::time::timeout(WAIT_MAX, cache.get(&7)).await.expect("it does not wait");
    assert_eq!(read.expect_err("no loader").kind(), ErrorKind::Config);
    let many = tokio::time::timeout(WAIT_MAX, cache.get_many([7, 8]).per_key()).await.expect("it does not wait");
    assert!(many.iter().all(|read| read.as_ref().is_err_and(|error| error.kind() == ErrorKind::Config)), "{many:?}");
    let own = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_load(&7, own).await }
    });
    database.0.returning.add_permits(1);
    assert_eq!(slow.await.expect("joined"), Some(1));
    assert_eq!(own.await.expect("joined").expect("its own value"), Some(5));
    assert_eq!(cache.get(&7).await.expect("a cached value"), Some(5));
}

#[tokio::test]
async fn a_read_that_cannot_load_waits_for_the_load_of_another() {
    let (cache, database) = (cache(CacheSettings::default()), Database::default());
    let slow = slow(&cache, 7, &database).await;
    let readers = [0, 1].map(|many| {
        let cache = cache.clone();
        tokio::spawn(async move {
            match many {
                0 => cache.get(&7).await,
                _ => cache.get_many([7]).await.map(|values| values[0]),
            }
        })
    });
    wait_until("both have joined", || async { cache.inner.flights.waiters(&7) == 3 }).await;
    database.0.returning.add_permits(1);
    assert_eq!(slow.await.expect("joined"), Some(1));
    for reader in readers {
        assert_eq!(reader.await.expect("joined").expect("a value"), Some(1));
    }
}

#[tokio::test]
async fn reads_that_cannot_load_do_not_open_the_circuit_breaker() {
    let cache = cache(CacheSettings::default().with_load_breaker(BreakerSettings::of_loads().with_enabled(true)));
    for key in 0..50 {
        assert_eq!(cache.get(&key).bypass().await.expect_err("no loader").kind(), ErrorKind::Config);
        assert_eq!(cache.get_many([key]).bypass().await.expect_err("no loader").kind(), ErrorKind::Config);
    }
    assert_eq!(cache.get_or_load(&7, own).await.expect("loads are not refused"), Some(5));
}
