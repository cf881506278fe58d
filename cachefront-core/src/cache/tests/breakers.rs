//! Circuit breakers of the store and of the database, and the time that a read waits for its load.

use super::*;
use crate::settings::BreakerSettings;
use crate::store::Operation;
use crate::testing::{FaultyStore, TokioClock};

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    store: FaultyStore,
    database: Database,
    cache: Cache<u64, u64>,
    invalidator: ManualInvalidator,
}

/// A cache on the paused clock of the test.
async fn fixture(change: impl FnOnce(CacheBuilder<u64, u64>) -> CacheBuilder<u64, u64>) -> Fixture {
    let clock = Arc::new(TokioClock::new());
    let memory = MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(&clock));
    let invalidator = ManualInvalidator::begin(&memory).await;
    let (store, database) = (FaultyStore::new(memory), Database::free());
    let builder = Cache::builder("row")
        .settings(CacheSettings::default().with_on_lag(crate::settings::OnLag::Serve))
        .clock(clock)
        .shared(store.clone())
        .loader(database.clone())
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]));
    Fixture { cache: change(builder).build().expect("a cache"), store, database, invalidator }
}

fn with_loads(settings: BreakerSettings) -> CacheSettings {
    CacheSettings::default().with_load_breaker(settings).with_on_lag(crate::settings::OnLag::Serve)
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await; // sleep: on the paused clock, it takes no time
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_left_alone_until_a_probe_succeeds() {
    let Fixture { store, cache, mut invalidator, .. } = fixture(|builder| builder).await;
    store.set_down(true);
    for key in 0..100 {
        assert_eq!(cache.get(&key).await.expect("from the database"), Some(1));
    }
    let calls = store.calls(Operation::Get) + store.calls(Operation::Lease);
    assert!((5..10).contains(&calls), "{calls} calls of a store that is down");
    // What removes values never asks the breaker.
    cache.invalidate(&7).await.expect_err("the store is down");
    assert_eq!(store.calls(Operation::Discard), 1);
    store.set_down(false);
    cache.invalidate(&7).await.expect("the breaker is still open");
    invalidator.apply(2, &key()).await;
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database);
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database, "nothing was stored");
    pass(SECOND).await;
    cache.get(&7).await.expect("the probe");
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_costs_a_few_reads_and_then_none() {
    let Fixture { store, cache, .. } = fixture(|builder| builder).await;
    store.set_delay(SECOND);
    let began = tokio::time::Instant::now();
    for key in 0..100 {
        assert_eq!(cache.get(&key).await.expect("a value"), Some(1));
    }
    let spent = began.elapsed();
    assert!(spent < 8 * SECOND, "100 reads waited for {spent:?}");
    // Many keys and fills pass the same breaker.
    let began = tokio::time::Instant::now();
    cache.get_many(100..200).await.expect("values");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_explanation_knows_that_the_store_is_left_alone() {
    let Fixture { store, cache, .. } = fixture(|builder| builder).await;
    cache.get(&7).await.expect("a value");
    store.set_down(true);
    for _ in 0..10 {
        cache.get(&7).await.expect("from the database");
    }
    store.set_down(false);
    let explanation = cache.explain(&7).await.expect("an explanation");
    let reason = Some(crate::cache::LoadReason::StoreUnreachable);
    assert_eq!((explanation.served_from, explanation.would_load), (None, reason));
    assert!(explanation.to_string().contains("circuit breaker"), "{explanation}");
}

#[tokio::test(start_paused = true)]
async fn callers_that_give_up_open_the_breaker_of_a_slow_store() {
    let Fixture { store, cache, .. } = fixture(|builder| builder).await;
    store.set_delay(SECOND / 5);
    let mut given_up = 0;
    for key in 0..100 {
        let read = tokio::time::timeout(SECOND * 3 / 20, cache.get(&key)).await;
        given_up += u64::from(read.is_err());
    }
    assert!(given_up < 10, "{given_up} of 100 reads waited for the store");
}

/// A store that replies late has granted a lease that no load holds.
#[tokio::test(start_paused = true)]
async fn a_lease_whose_reply_was_lost_holds_up_no_later_reader() {
    let Fixture { store, cache, .. } = fixture(|builder| builder).await;
    store.next(Operation::Lease, [crate::testing::Fate::ReplyLost]);
    assert_eq!(cache.get(&7).await.expect("from the database"), Some(1));
    let began = tokio::time::Instant::now();
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Shared, "it was stored");
    // Of several keys, each has a lease.
    store.next(Operation::Lease, [crate::testing::Fate::ReplyLost; 2]);
    cache.get_many([8, 9]).await.expect("from the database");
    let began = tokio::time::Instant::now();
    cache.get_many([8, 9]).await.expect("from the database");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(cache.get(&9).detailed().await.expect("a value").tier, Tier::Shared, "it was stored");
}

#[tokio::test(start_paused = true)]
async fn a_level_holds_while_the_store_is_left_alone() {
    let Fixture { store, cache, database, .. } = fixture(|builder| builder).await;
    cache.get(&7).await.expect("a value");
    store.set_down(true);
    for _ in 0..10 {
        cache.get(&7).await.expect("a value");
    }
    database.write(2);
    let token: Position = "db:2".parse().expect("a position");
    assert_eq!(cache.get(&7).at_least(&token).await.expect("a value"), Some(2));
    let bounded = cache.get(&7).max_staleness(SECOND).detailed().await.expect("a value");
    assert_eq!((bounded.value, bounded.tier), (Some(2), Tier::Database));
}

#[tokio::test(start_paused = true)]
async fn loads_from_a_database_that_fails_are_refused_at_once() {
    let settings = with_loads(BreakerSettings::of_loads().with_enabled(true));
    let Fixture { cache, database, store, .. } = fixture(|builder| builder.settings(settings)).await;
    database.0.fails.store(true, Ordering::SeqCst);
    for key in 0..5 {
        assert_eq!(cache.get(&key).await.expect_err("it fails").kind(), ErrorKind::Load);
    }
    let leases = store.calls(Operation::Lease);
    for key in 0..100 {
        assert_eq!(cache.get(&key).await.expect_err("refused").kind(), ErrorKind::Unavailable);
    }
    assert_eq!(cache.get_many([1, 2]).await.expect_err("refused").kind(), ErrorKind::Unavailable);
    assert_eq!(cache.get(&1).bypass().await.expect_err("refused").kind(), ErrorKind::Unavailable);
    assert_eq!((database.loads(), store.calls(Operation::Lease)), (5, leases), "no lease for a load that cannot begin");
    database.0.fails.store(false, Ordering::SeqCst);
    pass(SECOND).await;
    for key in 0..10 {
        assert_eq!(cache.get(&key).await.expect("the probe succeeded"), Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn loads_that_are_slow_open_the_breaker() {
    let slow = BreakerSettings::of_loads().with_enabled(true).with_slow(SECOND);
    let settings = with_loads(slow).with_load_timeout(SECOND);
    let Fixture { cache, database, .. } = fixture(|builder| builder.settings(settings)).await;
    database.0.returning.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    for key in 0..5 {
        assert_eq!(cache.get(&key).await.expect_err("too slow").kind(), ErrorKind::Timeout);
    }
    let began = tokio::time::Instant::now();
    assert_eq!(cache.get(&9).await.expect_err("refused").kind(), ErrorKind::Unavailable);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn stale_values_are_served_while_loads_are_refused() {
    let breaker = BreakerSettings::of_loads().with_enabled(true).with_open_min(600 * SECOND);
    let settings = with_loads(breaker).with_stale_if_error_throttle(Duration::ZERO);
    let fixture =
        fixture(|builder| builder.settings(settings).local(Local::max_weight(1 << 20)).stale_if_error(600 * SECOND));
    let Fixture { cache, database, mut invalidator, .. } = fixture.await;
    followed(&cache, &mut invalidator).await;
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    database.write(2);
    invalidator.apply(2, &key()).await;
    handled(&cache, 2).await;
    database.0.fails.store(true, Ordering::SeqCst);
    for _ in 0..50 {
        let hit = cache.get(&7).detailed().await.expect("the last value");
        assert!(hit.stale && hit.value == Some(1) && hit.staleness_bound.is_none(), "{hit:?}");
    }
    assert_eq!(database.loads(), 1 + 5);
    let token: Position = "db:2".parse().expect("a position");
    cache.get(&7).at_least(&token).await.expect_err("a session read is never served one");
}

#[tokio::test(start_paused = true)]
async fn a_read_stops_waiting_and_its_load_goes_on_and_fills() {
    let settings = CacheSettings::default().with_load_hard_timeout(SECOND).with_on_lag(crate::settings::OnLag::Serve);
    let Fixture { cache, database, .. } = fixture(|builder| builder.settings(settings)).await;
    database.0.returning.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let began = tokio::time::Instant::now();
    let (one, many) = tokio::join!(cache.get(&7).into_future(), cache.get_many([7, 8]).per_key());
    assert_eq!(one.expect_err("too slow").kind(), ErrorKind::Timeout);
    assert!(many.iter().all(|hit| hit.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout)), "{many:?}");
    assert_eq!(began.elapsed(), SECOND);
    let strong = cache.get(&9).bypass().await.expect_err("too slow");
    assert_eq!((strong.kind(), began.elapsed()), (ErrorKind::Timeout, 2 * SECOND));
    database.0.returning.add_permits(8);
    wait_until("the load has ended", || async { cache.inner.flights.waiters_or_none(&7).is_none() }).await;
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Shared);
    assert_eq!(database.loads(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_shadow_read_of_a_key_that_is_not_cached_stops_waiting_too() {
    let settings = CacheSettings::default().with_load_hard_timeout(SECOND).with_on_lag(crate::settings::OnLag::Serve);
    let Fixture { cache, database, .. } = fixture(|builder| builder.settings(settings)).await;
    cache.set_serving_mode(crate::cache::ServingMode::Shadow);
    database.0.returning.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let began = tokio::time::Instant::now();
    assert_eq!(cache.get(&7).await.expect_err("too slow").kind(), ErrorKind::Timeout);
    assert_eq!(began.elapsed(), SECOND);
}

/// The load that goes on is overtaken by an invalidation: it stores nothing.
#[tokio::test(start_paused = true)]
async fn a_load_that_goes_on_is_revoked_by_an_invalidation() {
    let settings = CacheSettings::default().with_load_hard_timeout(SECOND).with_on_lag(crate::settings::OnLag::Serve);
    let Fixture { cache, database, mut invalidator, .. } = fixture(|builder| builder.settings(settings)).await;
    database.0.returning.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    cache.get(&7).await.expect_err("too slow");
    database.write(2);
    invalidator.apply(2, &key()).await;
    database.0.returning.add_permits(8);
    wait_until("the load has ended", || async { cache.inner.flights.waiters_or_none(&7).is_none() }).await;
    assert!(cache.peek(&7).await.expect("a peek").is_none());
    assert_eq!(cache.get(&7).await.expect("a value"), Some(2));
}
