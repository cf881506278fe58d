//! The freshness objective: no plain read is served a value until its TTL ends while the log is not applied.

use super::*;
use crate::settings::OnLag;

const OBJECTIVE: Duration = Duration::from_secs(4);
const SHORTENED: Duration = Duration::from_secs(2);

struct Fixture {
    clock: Arc<ManualClock>,
    database: Database,
    invalidator: ManualInvalidator,
    cache: Cache<u64, u64>,
}

impl Fixture {
    async fn new(on_lag: OnLag, local: bool) -> Self {
        let clock = Arc::new(ManualClock::new());
        let store = Arc::new(MemoryStore::new("t").with_clock(Arc::<ManualClock>::clone(&clock)));
        let (database, mut invalidator) = (Database::free(), ManualInvalidator::begin(&store).await);
        let settings = CacheSettings::default().with_freshness_objective(OBJECTIVE).with_on_lag(on_lag);
        let builder = Cache::builder("row")
            .settings(settings.with_bus_silence_max(Duration::from_secs(3_600)))
            .clock(Arc::<ManualClock>::clone(&clock))
            .shared(Arc::clone(&store))
            .loader(database.clone())
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]));
        let builder = if local { builder.local(Local::max_weight(1 << 20)) } else { builder };
        let cache = builder.build().expect("a cache");
        followed(&cache, &mut invalidator).await;
        let mut fixture = Self { clock, database, invalidator, cache };
        fixture.watermark().await;
        fixture
    }

    /// The invalidator has applied everything up to now.
    async fn watermark(&mut self) {
        self.invalidator.source_time = self.clock.now();
        self.invalidator.commit().await;
        self.invalidator.beat().await;
        let reached = self.clock.now();
        wait_until("the heartbeat was handled", || async {
            self.cache.inner.subscription.handled.load().source_time == reached
        })
        .await;
    }

    /// Time passes; heartbeats go on, but the log is not applied.
    async fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.clock.tick();
        self.invalidator.beat().await;
        let now = self.clock.now();
        let lag = now.since(self.invalidator.source_time) + CacheSettings::default().clock_skew > OBJECTIVE;
        wait_until("the heartbeat was handled", || async { self.cache.inner.subscription.is_unlimited() != lag }).await;
    }

    /// Time passes without any message, until the tier's task has ticked.
    async fn silence(&mut self, time: Duration) {
        self.clock.advance(time);
        let now = self.clock.now();
        let lag = now.since(self.invalidator.source_time) + CacheSettings::default().clock_skew > OBJECTIVE;
        wait_until("the tier has ticked", || async {
            self.cache.inner.subscription.is_unlimited() != lag && self.clock.coarse() >= now
        })
        .await;
    }

    async fn read(&mut self) -> Tier {
        let plain = self.cache.get(&7).await.expect("a value");
        let hit = self.cache.get(&7).detailed().await.expect("a value");
        assert_eq!(hit.value, plain);
        hit.tier
    }
}

#[tokio::test]
async fn in_lag_a_value_is_served_by_its_age_from_both_tiers() {
    for local in [false, true] {
        let tier = if local { Tier::Local } else { Tier::Shared };
        let mut fixture = Fixture::new(OnLag::ShortenTtl(SHORTENED), local).await;
        fixture.read().await;
        assert_eq!((fixture.read().await, fixture.database.loads()), (tier, 1));
        fixture.pass(Duration::from_millis(3_900)).await;
        assert_eq!((fixture.read().await, fixture.database.loads()), (tier, 1), "the objective is met");
        fixture.pass(Duration::from_millis(200)).await;
        fixture.database.write(2);
        assert_eq!(fixture.cache.get(&7).await.expect("a value"), Some(2), "older than the shortened time");
        assert_eq!(fixture.database.loads(), 2);
        assert_eq!((fixture.read().await, fixture.database.loads()), (tier, 2), "young enough");
        fixture.pass(Duration::from_secs(2)).await;
        fixture.cache.get(&7).await.expect("a value");
        assert_eq!(fixture.database.loads(), 3, "it is loaded once in the shortened time");
        fixture.pass(Duration::from_secs(2)).await;
        fixture.watermark().await;
        assert_eq!((fixture.read().await, fixture.database.loads()), (tier, 3), "what was cached is served again");
    }
}

#[tokio::test]
async fn in_lag_the_policy_decides_what_is_served() {
    for (on_lag, loads) in [(OnLag::Bypass, 3), (OnLag::Serve, 1)] {
        for local in [false, true] {
            let mut fixture = Fixture::new(on_lag, local).await;
            fixture.cache.get(&7).await.expect("a value");
            fixture.clock.advance(Duration::from_secs(5));
            fixture.clock.tick();
            fixture.invalidator.beat().await;
            wait_until("the heartbeat was handled", || async {
                fixture.cache.inner.subscription.is_unlimited() == (on_lag == OnLag::Serve)
            })
            .await;
            fixture.read().await;
            assert_eq!(fixture.database.loads(), loads, "{on_lag:?}, local tier: {local}");
        }
    }
}

#[tokio::test]
async fn many_keys_have_the_objective_of_one_key() {
    for local in [false, true] {
        let mut fixture = Fixture::new(OnLag::ShortenTtl(SHORTENED), local).await;
        fixture.cache.get_many([7, 8]).await.expect("values");
        fixture.pass(Duration::from_secs(5)).await;
        fixture.database.write(2);
        let loads = fixture.database.loads();
        assert_eq!(fixture.cache.get_many([7, 8]).await.expect("values"), [Some(2), Some(2)]);
        assert_eq!(fixture.database.loads(), loads + 2);
        fixture.cache.get_many([7, 8]).await.expect("values");
        assert_eq!(fixture.database.loads(), loads + 2, "the loaded values were stored");
    }
}

#[tokio::test]
async fn a_cache_that_is_kept_by_time_has_no_objective() {
    let clock = Arc::new(ManualClock::new());
    let database = Database::free();
    let cache: Cache<u64, u64> = Cache::builder("row")
        .settings(CacheSettings::default().with_on_lag(OnLag::Bypass))
        .clock(Arc::<ManualClock>::clone(&clock))
        .local(Local::max_weight(1 << 20))
        .loader(database.clone())
        .build()
        .expect("a cache");
    for _ in 0..3 {
        cache.get(&7).await.expect("a value");
        clock.advance(Duration::from_secs(20));
        clock.tick();
    }
    assert_eq!(database.loads(), 1);
}

/// The invalidator is frozen, or this process's connection to the bus delivers nothing: no message says that time passes.
#[tokio::test]
async fn in_silence_the_local_tier_meets_the_objective_by_a_tick() {
    for on_lag in [OnLag::ShortenTtl(SHORTENED), OnLag::Bypass] {
        let mut fixture = Fixture::new(on_lag, true).await;
        fixture.read().await;
        assert_eq!((fixture.read().await, fixture.database.loads()), (Tier::Local, 1));
        fixture.database.write(2);
        fixture.silence(Duration::from_millis(3_900)).await;
        assert_eq!(fixture.cache.get(&7).await.expect("a value"), Some(1), "{on_lag:?}: the objective is met");
        fixture.silence(Duration::from_millis(200)).await;
        assert_eq!(fixture.cache.get(&7).await.expect("a value"), Some(2), "{on_lag:?}: the objective is over");
        let loads = fixture.database.loads();
        fixture.cache.get(&7).await.expect("a value");
        assert_eq!(fixture.database.loads() - loads, u64::from(on_lag == OnLag::Bypass), "{on_lag:?}");
        fixture.watermark().await;
        let loads = fixture.database.loads();
        assert_eq!((fixture.read().await, fixture.database.loads()), (Tier::Local, loads), "back: nothing is loaded");
    }
}

/// A process whose tier is off, as its bus is silent for too long, has the objective of the store's watermark.
#[tokio::test]
async fn in_doubt_the_stores_watermark_counts() {
    let mut fixture = Fixture::new(OnLag::ShortenTtl(SHORTENED), true).await;
    fixture.read().await;
    let subscription = Arc::clone(&fixture.cache.inner.subscription);
    subscription.stop("silence");
    fixture.database.write(2);
    fixture.clock.advance(Duration::from_millis(4_100));
    subscription.tick();
    assert_eq!(fixture.cache.get(&7).await.expect("a value"), Some(2), "the objective is over");
    fixture.invalidator.source_time = fixture.clock.now();
    fixture.invalidator.commit().await;
    let loads = fixture.database.loads();
    assert_eq!((fixture.read().await, fixture.database.loads()), (Tier::Shared, loads));
}

/// The clock of a stopped process moves, and nothing in the process does.
#[tokio::test]
async fn a_process_that_was_stopped_serves_its_local_tier_until_a_tick() {
    let mut fixture = Fixture::new(OnLag::Bypass, true).await;
    fixture.read().await;
    fixture.read().await;
    fixture.clock.advance(2 * OBJECTIVE);
    assert!(fixture.cache.inner.local_get(&7).is_some());
    fixture.cache.inner.subscription.tick();
    assert!(fixture.cache.inner.local_get(&7).is_none());
}

/// An alert is on while the gauge is 1.
#[tokio::test]
async fn the_gauge_of_lag_ends_though_nothing_is_read() {
    for local in [false, true] {
        let mut fixture = Fixture::new(OnLag::Bypass, local).await;
        let subscription = Arc::clone(&fixture.cache.inner.subscription);
        fixture.cache.get(&7).await.expect("a value");
        fixture.pass(Duration::from_secs(5)).await;
        fixture.cache.get(&7).await.expect("a value");
        assert!(subscription.is_lag_noted());
        fixture.watermark().await;
        wait_until("the lag has ended", || async { !subscription.is_lag_noted() }).await;
    }
}

#[tokio::test]
async fn the_gauge_of_lag_ends_with_cdc_mode() {
    let mut fixture = Fixture::new(OnLag::Bypass, false).await;
    fixture.cache.get(&7).await.expect("a value");
    fixture.pass(Duration::from_secs(5)).await;
    fixture.cache.get(&7).await.expect("a value");
    assert!(fixture.cache.inner.subscription.is_lag_noted());
    fixture.cache.set_mode(InvalidationMode::Ttl);
    fixture.cache.get(&7).await.expect("a value");
    assert!(!fixture.cache.inner.subscription.is_lag_noted());
}

/// Nothing follows the bus for it.
#[test]
fn a_tier_whose_runtime_has_ended_serves_no_value() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let build = async {
        let cache: Cache<u64, u64> =
            Cache::builder("row").local(Local::max_weight(1 << 20)).loader(Database::free()).build().expect("a cache");
        cache.get(&7).await.expect("a value");
        assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Local);
        cache
    };
    let first = runtime();
    let cache = first.block_on(build);
    assert!(cache.inner.local_get(&7).is_some());
    drop(first);
    assert!(cache.inner.local_get(&7).is_none());
    let hit = runtime().block_on(async { cache.get(&7).detailed().await }).expect("a value");
    assert_eq!((hit.value, hit.tier), (Some(1), Tier::Shared));
}

/// In either order of the calls.
#[tokio::test]
async fn methods_of_the_builder_take_precedence_over_settings() {
    let with_methods = |builder: CacheBuilder<u64, u64>| {
        builder
            .freshness_objective(OBJECTIVE, OnLag::Bypass)
            .stale_while_revalidate(Duration::from_secs(1))
            .early_refresh(0.5)
            .stale_if_error(Duration::from_secs(2))
            .load_soft_timeout(Duration::from_secs(3))
            .local(Local::max_weight(1 << 20))
    };
    let other = CacheSettings::default().with_loads_max(16).with_early_refresh(1.0);
    let expected = other
        .with_freshness_objective(OBJECTIVE)
        .with_on_lag(OnLag::Bypass)
        .with_stale_while_revalidate(Duration::from_secs(1))
        .with_early_refresh(0.5)
        .with_stale_if_error(Duration::from_secs(2))
        .with_load_soft_timeout(Duration::from_secs(3));
    let builder = || Cache::builder("row");
    for builder in [with_methods(builder()).settings(other), with_methods(builder().settings(other))] {
        let shown = format!("{builder:?}");
        assert!(shown.contains(&format!("{expected:?}")), "{shown}");
        assert_eq!(builder.build().expect("a cache").inner.settings, expected);
    }
    let plain = builder().settings(other).build().expect("a cache");
    assert_eq!(plain.inner.settings, other, "without these methods");
}
