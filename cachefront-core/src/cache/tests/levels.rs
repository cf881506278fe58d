//! Loaded values are checked like cached ones: a value that lacks the token does not satisfy a session read, and a value of a
//! replica bounds no staleness.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::cache::ServingMode;
use crate::cache::level::Level;
use crate::settings::OnLag;
use crate::testing::TokioClock;

/// A database server, as a loader describes it.
#[derive(Clone)]
pub(super) struct Server {
    /// The row's value, which is the number of the last commit that it has.
    executed: Arc<AtomicU64>,
    pub(super) loads: Arc<AtomicU64>,
    position: bool,
    origin: Option<&'static str>,
    replica: bool,
    /// Its commits are not visible yet: its position claims nothing.
    invisible: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn primary() -> Self {
        let executed = Arc::new(AtomicU64::new(1));
        Self {
            executed,
            loads: Arc::default(),
            position: true,
            origin: Some("server"),
            replica: false,
            invisible: Arc::default(),
        }
    }

    pub(super) fn replica() -> Self {
        Self { origin: None, replica: true, ..Self::primary() }
    }

    pub(super) fn reach(&self, commit: u64) {
        self.executed.store(commit, Ordering::SeqCst);
    }
}

impl Loader<u64, u64> for Server {
    type Error = std::io::Error;

    async fn load(&self, _key: &u64, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let value = self.executed.load(Ordering::SeqCst);
        if self.position && self.invisible.load(Ordering::SeqCst) {
            cx.position(Position::new());
        } else if self.position {
            cx.position(format!("db:1-{value}").parse().expect("a position"));
        }
        if let Some(origin) = self.origin {
            cx.origin(origin);
        }
        if self.replica {
            cx.replica();
        }
        Ok(Some(value))
    }
}

pub(super) fn cache_of(store: &Arc<MemoryStore>, server: &Server) -> Cache<u64, u64> {
    Cache::builder("row")
        .shared(Arc::clone(store))
        .clock(Arc::new(TokioClock::new()))
        .loader(server.clone())
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache")
}

/// Like [`cache_of`], for a cache that declares its replica, with an invalidator that covers it.
async fn declared(store: &Arc<MemoryStore>, server: &Server) -> (Cache<u64, u64>, ManualInvalidator) {
    let invalidator =
        ManualInvalidator::covering(store, MappingId::new("row", &table_filter(), &["replica".into()], 0)).await;
    let cache = Cache::builder("row")
        .shared(Arc::clone(store))
        // The invalidator of this test has no watermark.
        .settings(CacheSettings::default().with_on_lag(OnLag::Serve))
        .clock(Arc::new(TokioClock::new()))
        .loader(server.clone())
        .loads_from("replica")
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    (cache, invalidator)
}

pub(super) fn token(commit: u64) -> Position {
    format!("db:{commit}").parse().expect("a position")
}

#[tokio::test(start_paused = true)]
async fn a_session_read_waits_for_a_replica_that_lags() {
    for with_meta in [true, false] {
        let (store, server) = (Arc::new(MemoryStore::new("t")), Server::replica());
        let _invalidator = if with_meta { Some(ManualInvalidator::begin(&store).await) } else { None };
        let cache = cache_of(&store, &server);
        let read = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get(&7).at_least(token(2)).detailed().await }
        });
        wait_until("it has loaded without success", || async { server.loads.load(Ordering::SeqCst) > 3 }).await;
        server.reach(2);
        let hit = read.await.expect("joined").expect("a value");
        assert_eq!((hit.value, hit.tier), (Some(2), Tier::Database));
        assert!(hit.position.expect("a position").covers(&token(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_read_fails_when_the_replica_does_not_catch_up() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::replica());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    let began = tokio::time::Instant::now();
    let error = cache.get(&7).at_least(token(2)).await.expect_err("the replica lacks it");
    assert_eq!(error.kind(), ErrorKind::Unproven);
    let wait = CacheSettings::default().proof_wait;
    assert!((wait..wait * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(cache.get(&7).await.expect("a plain read takes it"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn readers_that_wait_for_a_replica_share_their_loads() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::replica());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let cache = cache.clone();
        readers.spawn(async move { cache.get(&7).at_least(token(2)).await });
    }
    tokio::time::sleep(Duration::from_secs(1)).await; // sleep: on the paused clock, it takes no time
    server.reach(2);
    for read in readers.join_all().await {
        assert_eq!(read.expect("a value"), Some(2));
    }
    let loads = server.loads.load(Ordering::SeqCst);
    assert!(loads < 100, "{loads} loads for readers of one key in a second");
}

/// A clock over tokio's that is set back.
#[derive(Debug)]
pub(super) struct SetBack {
    clock: TokioClock,
    by: AtomicU64,
}

impl SetBack {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { clock: TokioClock::new(), by: AtomicU64::new(0) })
    }

    pub(super) fn set_back(&self, by: Duration) {
        self.by.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }
}

impl Clock for SetBack {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.now().as_micros() - self.by.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.clock.sleep(duration)
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_prolong_a_read() {
    let (store, server, clock) = (Arc::new(MemoryStore::new("t")), Server::replica(), SetBack::new());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let builder = builder(&store, &Database::free()).settings(CacheSettings::default());
    let cache = builder.clock(Arc::<SetBack>::clone(&clock)).loader(server).build().expect("a cache");
    let wait = CacheSettings::default().proof_wait;
    for many in [false, true] {
        let began = tokio::time::Instant::now();
        let cache = cache.clone();
        let read = tokio::spawn(async move {
            match many {
                false => cache.get(&7).at_least(token(2)).await.map(|_| ()),
                true => cache.get_many([7]).at_least(token(2)).consistent().await.map(|_| ()),
            }
        });
        tokio::time::sleep(wait / 2).await; // sleep: on the paused clock, it takes no time
        clock.set_back(Duration::from_secs(600));
        let error = read.await.expect("joined").expect_err("the replica lacks it");
        assert_eq!(error.kind(), ErrorKind::Unproven);
        assert!(began.elapsed() < 2 * wait, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_lacks_the_token_is_not_waited_for() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::primary());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    let began = tokio::time::Instant::now();
    let error = cache.get(&7).at_least(token(2)).await.expect_err("no server has it");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Unproven, Duration::ZERO));
    let error = cache.get_many([7]).at_least(token(2)).consistent().await.expect_err("no server has it");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Unproven, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_is_slower_than_the_bound_says_how_old_it_is() {
    let store = Arc::new(MemoryStore::new("t"));
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &Server::primary());
    let load = Duration::from_secs(2);
    let slow = async move |_cx| {
        tokio::time::sleep(load).await; // sleep: on the paused clock, it takes no time
        Ok::<_, std::io::Error>(Some(1))
    };
    let read = cache.get_or_load(&7, slow).max_staleness(Duration::from_millis(100)).detailed();
    let bound = read.await.expect("a value").staleness_bound.expect("a bound");
    assert!((load..2 * load).contains(&bound), "{bound:?}");
}

/// A rule excludes them, not the store.
#[tokio::test]
async fn what_must_not_be_cached_is_in_no_tier_of_ttl_mode() {
    let of =
        |server: &Server| Cache::<u64, u64>::builder("row").local(Local::max_weight(1 << 20)).loader(server.clone());
    let replica = Server::replica();
    let undeclared = of(&replica).build().expect("a cache");
    let declared = of(&replica).loads_from("replica").build().expect("a cache");
    let large = Server::primary();
    large.reach(1_000);
    let settings = CacheSettings::default().with_value_bytes_max(2);
    let capped = of(&large).settings(settings).build().expect("a cache");
    for (cache, tier) in [(undeclared, Tier::Database), (declared, Tier::Local), (capped, Tier::Database)] {
        cache.get(&7).await.expect("a value");
        assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, tier);
    }
}

/// On MariaDB a position is empty if the log's last commits do not become visible soon.
#[tokio::test(start_paused = true)]
async fn a_primary_that_claims_nothing_is_waited_for() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::primary());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    server.invisible.store(true, Ordering::SeqCst);
    server.reach(2);
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).at_least(token(2)).await }
    });
    wait_until("it has loaded without success", || async { server.loads.load(Ordering::SeqCst) > 1 }).await;
    server.invisible.store(false, Ordering::SeqCst);
    assert_eq!(read.await.expect("joined").expect("a value"), Some(2));
}

/// The log's server changes while no read of this cache touches the store.
#[tokio::test(start_paused = true)]
async fn a_bound_past_the_tiers_is_judged_by_the_server_now_followed() {
    for mode in [ServingMode::Bypass, ServingMode::Shadow] {
        let (store, server) = (Arc::new(MemoryStore::new("t")), Server::primary());
        let _former = ManualInvalidator::begin(&store).await;
        let cache = cache_of(&store, &server);
        cache.get(&7).await.expect("a value");
        cache.set_serving_mode(mode);
        let bound = Duration::from_secs(5);
        assert_eq!(cache.get(&7).max_staleness(bound).await.expect("the primary"), Some(1));
        let _next = ManualInvalidator::at_server(&store, mapping(), "next").await;
        let hit = cache.get(&7).detailed().await.expect("a value");
        assert_eq!((hit.tier, hit.staleness_bound), (Tier::Database, None), "{mode:?}");
        let read = cache.get(&7).max_staleness(bound).await;
        assert_eq!(read.expect_err("it was replaced").kind(), ErrorKind::Unproven);
        let read = cache.get_many([7]).max_staleness(bound).await;
        assert_eq!(read.expect_err("it was replaced").kind(), ErrorKind::Unproven);
    }
}

/// An invalidator has left its meta, and the database has moved since.
#[tokio::test(start_paused = true)]
async fn a_meta_that_was_left_behind_says_nothing_under_ttl_mode() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::primary());
    let _former = ManualInvalidator::at_server(&store, mapping(), "former").await;
    let cache = cache_of(&store, &server);
    cache.get(&7).max_staleness(Duration::from_secs(5)).await.expect_err("the log of another server is followed");
    cache.set_mode(InvalidationMode::Ttl);
    for tier in [Tier::Database, Tier::Shared] {
        let hit = cache.get(&7).max_staleness(Duration::from_secs(5)).detailed().await.expect("a value");
        assert_eq!((hit.value, hit.tier), (Some(1), tier));
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_from_a_replica_bounds_no_staleness() {
    let bound = Duration::from_secs(5);
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::replica());
    let cache = cache_of(&store, &server);
    assert_eq!(cache.get(&7).detailed().await.expect("a value").staleness_bound, None, "straight from the replica");
    assert_eq!(cache.get(&7).max_staleness(bound).await.expect_err("unproven").kind(), ErrorKind::Unproven);
    let _invalidator = ManualInvalidator::begin(&store).await;
    assert_eq!(cache.get(&7).max_staleness(bound).await.expect_err("unproven").kind(), ErrorKind::Unproven);
    let hit = cache.get(&7).detailed().await.expect("a value");
    assert_eq!(hit.tier, Tier::Database, "no gate is known to wait on the replica: its values are not kept");
    let (cache, _invalidator) = declared(&Arc::new(MemoryStore::new("t")), &server).await;
    cache.get(&7).await.expect("a value");
    let stored = cache.get(&7).detailed().await.expect("a value");
    assert_eq!((stored.tier, stored.staleness_bound), (Tier::Shared, None), "and as it was stored");
    let primary = cache_of(&Arc::new(MemoryStore::new("t")), &Server::primary());
    let hit = primary.get(&7).max_staleness(bound).detailed().await.expect("a value");
    assert_eq!((hit.tier, hit.staleness_bound.is_some()), (Tier::Database, true));
}

#[tokio::test(start_paused = true)]
async fn a_value_of_another_server_than_the_logs_is_not_cached() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server { origin: Some("demoted"), ..Server::primary() });
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    for _ in 0..2 {
        let hit = cache.get(&7).detailed().await.expect("a value");
        assert_eq!((hit.value, hit.tier, hit.staleness_bound), (Some(1), Tier::Database, None));
    }
    let bound = cache.get(&7).max_staleness(Duration::from_secs(5)).await;
    assert_eq!(bound.expect_err("another server proves no time").kind(), ErrorKind::Unproven);
    server.reach(2);
    let hit = cache.get(&7).at_least(token(2)).detailed().await.expect("it says that it has the token");
    assert_eq!(hit.value, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_loader_without_notes_reads_the_primary_and_claims_no_position() {
    let (store, server) =
        (Arc::new(MemoryStore::new("t")), Server { position: false, origin: None, ..Server::primary() });
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    server.reach(2);
    let hit = cache.get(&7).at_least(token(2)).detailed().await.expect("a value");
    assert_eq!((hit.value, hit.position), (Some(2), None));
    let silent = Server { position: false, ..Server::replica() };
    let error = cache_of(&Arc::new(MemoryStore::new("t")), &silent).get(&7).at_least(token(2)).await;
    assert_eq!(error.expect_err("a replica must say what it has").kind(), ErrorKind::Unproven);
}

#[tokio::test]
async fn the_log_proves_no_local_value_while_the_mode_changes() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let mut invalidator = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    followed(&cache, &mut invalidator).await;
    cache.get(&7).await.expect("a value");
    let level = Level { at_least: Some(token(1)), ..Level::default() };
    let inner = &cache.inner;
    let proven = inner.local_lookup(&level, |tier, now| tier.get(&7, &inner.subscription.epochs, now));
    assert_eq!(proven.expect("the log proves it").tier, Tier::Local);
    let unproven = inner.local_lookup(&level, |tier, now| {
        let entry = tier.get(&7, &inner.subscription.epochs, now);
        cache.set_mode(InvalidationMode::Ttl);
        entry
    });
    assert_eq!(unproven, None);
}
