//! Warm-up by a list of keys.

use std::io;

use super::*;
use crate::testing::TokioClock;

const SECOND: Duration = Duration::from_secs(1);

fn cache(fails: fn(u64) -> bool) -> Cache<u64, u64> {
    Cache::builder("row")
        .clock(Arc::new(TokioClock::new()))
        .loader(crate::loader::loader_fn(move |key: u64| async move {
            match key {
                _ if fails(key) => Err(io::Error::other("the table is locked")),
                absent if absent % 10 == 0 => Ok(None),
                key => Ok(Some(key)),
            }
        }))
        .build()
        .expect("a cache in TTL mode")
}

#[tokio::test(start_paused = true)]
async fn keys_are_loaded_in_batches_at_a_rate() {
    let cache = cache(|_| false);
    cache.get(&1).await.expect("a value");
    let began = tokio::time::Instant::now();
    let report = cache.warm_up(0..1_000).rate(100).batch(50).await.expect("a report");
    assert_eq!((report.keys, report.present, report.loaded, report.absent, report.failed), (1_000, 1, 899, 100, 0));
    assert!((9 * SECOND..=11 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(cache.get(&999).detailed().await.expect("a value").tier, Tier::Shared);
    assert_eq!(cache.get(&990).detailed().await.expect("a value").tier, Tier::Shared, "absence too");
    assert_eq!(cache.stats().loads, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_of_a_database_that_is_away_gives_up() {
    let cache = cache(|key| key >= 100);
    let some = cache.warm_up(50..150).batch(50).await.expect("a report");
    assert_eq!((some.loaded + some.absent, some.failed), (50, 50), "one of two batches");
    assert_eq!(some.last_error.expect("the last error").kind(), ErrorKind::Load);
    let error = cache.warm_up((100..).inspect(|key| assert!(*key < 100 + 3 * 100))).await.expect_err("it gives up");
    assert_eq!(error.kind(), ErrorKind::Load);
}

/// A clock whose time is set back while a warm-up runs, over tokio's timers.
#[derive(Debug, Default)]
struct SetBack(AtomicU64);

impl Clock for SetBack {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(u64::MAX / 4 - 3_600_000_000 * self.0.fetch_add(1, Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        // sleep: this is the timer of a clock.
        Box::pin(tokio::time::sleep(duration))
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_clock_does_not_change_the_pace_of_a_warm_up() {
    let cache: Cache<u64, u64> = Cache::builder("row")
        .clock(Arc::new(SetBack::default()))
        .loader(crate::loader::loader_fn(|key: u64| async move { Ok::<_, io::Error>(Some(key)) }))
        .build()
        .expect("a cache");
    let began = tokio::time::Instant::now();
    cache.warm_up(0..1_000).rate(100).batch(50).await.expect("a report");
    assert!((9 * SECOND..=10 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
}
