//! Liveness of the loop: a slow store, a gate that stays closed, a holder that leaves, a change of server.

use super::*;
use crate::bus::BusEvent;
use crate::cache::Local;
use crate::error::Result;
use crate::gate::VisibilityGate;
use crate::source::{ChangeSource, Checkpoint, LayeredSource, SourceLayer, TableFilter};
use crate::testing::{FaultyStore, TokioClock};
use async_trait::async_trait;

/// One cache over a store whose calls can be slowed down, on tokio's clock.
pub(super) struct Scene {
    pub(super) store: Arc<FaultyStore>,
    pub(super) inner: MemoryStore,
    pub(super) source: ScriptedSource,
    table: Table,
    pub(super) cache: Cache<u64, u64>,
    pub(super) clock: Arc<TokioClock>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let clock = Arc::new(TokioClock::new());
        let inner = MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(&clock));
        let (store, table) = (Arc::new(FaultyStore::new(inner.clone())), Table::default());
        let cache = Cache::builder("row")
            .shared(Arc::clone(&store))
            .clock(Arc::<TokioClock>::clone(&clock))
            .loader(table.clone())
            .local(Local::max_weight(1 << 20))
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache");
        Self { store, inner, source: ScriptedSource::new("server-a"), table, cache, clock }
    }

    pub(super) fn cdc(&self) -> Cdc {
        self.cdc_of(self.source.clone())
    }

    /// An invalidator that reads the log through `source`.
    pub(super) fn cdc_of(&self, source: impl ChangeSource) -> Cdc {
        Cdc::new(source).bind(&self.cache).clock(Arc::<TokioClock>::clone(&self.clock))
    }

    pub(super) async fn run(&self) -> CdcHandle {
        let cdc = self.cdc().spawn().expect("spawned");
        cdc.ready().await.expect("ready");
        cdc
    }

    pub(super) async fn term(&self) -> u64 {
        self.inner.writer().await.expect("a writer").term().await.expect("a term")
    }

    async fn applied(&self) -> Position {
        match self.inner.writer().await.expect("a writer").state().await.expect("a state") {
            StoreState::Live(meta) => meta.applied().clone(),
            _ => Position::new(),
        }
    }

    /// Returns the virtual time until everything committed so far is applied.
    pub(super) async fn catches_up(&self) -> Duration {
        let (began, executed) = (tokio::time::Instant::now(), self.source.executed());
        while !self.applied().await.covers(&executed) {
            assert!(began.elapsed() < Duration::from_secs(600), "nothing is applied");
            tokio::time::sleep(Duration::from_millis(5)).await; // sleep: on the paused clock, it takes no time
        }
        began.elapsed()
    }
}

pub(super) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await; // sleep: on the paused clock, it takes no time
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_delays_invalidations_and_never_stops_them() {
    for delay in [0, 50, 200, 1_000].map(Duration::from_millis) {
        let scene = Scene::new();
        let cdc = scene.run().await;
        scene.store.set_delay(delay);
        for value in 0..10 {
            scene.table.set(1, value);
            scene.source.commit([row(1)]);
            // A heartbeat of two calls that has just begun, and the five of the batch; or an earlier batch.
            let took = scene.catches_up().await;
            assert!(took <= delay * 14 + Duration::from_millis(600), "{took:?} with {delay:?} a call");
            assert_eq!(cdc.status().state, CdcState::Running);
        }
        let before = cdc.status().source_time;
        wait_until("the watermark moves too", || async { cdc.status().source_time > before }).await;
    }
}

/// Both find the store empty, and read the same term in it.
#[tokio::test(start_paused = true)]
async fn of_two_invalidators_that_flush_at_once_one_has_the_term() {
    let scene = Scene::new();
    let mut bus = scene.inner.bus().subscribe().await.expect("a reader");
    scene.store.set_delay(Duration::from_millis(50));
    let both = [scene.cdc().spawn().expect("spawned"), scene.cdc().spawn().expect("spawned")];
    for cdc in &both {
        cdc.ready().await.expect("ready");
    }
    assert_eq!(both.iter().map(|cdc| cdc.status().flushes_total).sum::<u64>(), 1);
    let mut flushes = 0;
    while let Ok(read) = tokio::time::timeout(Duration::from_millis(1), bus.next()).await {
        let read = read.expect("messages");
        flushes += read.iter().filter(|read| matches!(read.message.event, BusEvent::Flush)).count();
    }
    assert_eq!(flushes, 1);
}

/// Everything is visible that was committed at least this long ago.
#[derive(Debug, Clone)]
struct Late {
    source: ScriptedSource,
    seen: Arc<Mutex<Vec<(tokio::time::Instant, Position)>>>,
    lag: Duration,
}

impl Late {
    fn new(source: &ScriptedSource, lag: Duration) -> Self {
        Self { source: source.clone(), seen: Arc::default(), lag }
    }

    fn commit(&self) {
        self.source.commit([row(1)]);
        self.seen.lock().expect("unpoisoned").push((tokio::time::Instant::now(), self.source.executed()));
    }
}

#[async_trait]
impl VisibilityGate for Late {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        let visible_at = |position: &Position| {
            let seen = self.seen.lock().expect("unpoisoned");
            seen.iter().find(|(_, executed)| executed.covers(position)).map(|(at, _)| *at + self.lag)
        };
        let Some(at) = visible_at(position).filter(|_| !position.is_empty()) else { return Ok(true) };
        let end = tokio::time::Instant::now() + timeout;
        tokio::time::sleep_until(at.min(end)).await; // sleep: it is the gate's wait
        Ok(at <= end)
    }
}

/// With the default settings a standby considers a holder dead after three silent seconds; the readers' replica lags more.
#[tokio::test(start_paused = true)]
async fn several_invalidators_progress_as_one_does_at_a_slow_gate() {
    let mut applied = Vec::new();
    for invalidators in 1..=3 {
        let scene = Scene::new();
        let gate = Late::new(&scene.source, Duration::from_secs(15));
        let mut handles = Vec::new();
        for _ in 0..invalidators {
            let cdc = scene.cdc().gate(Arc::new(gate.clone())).spawn().expect("spawned");
            cdc.ready().await.expect("ready");
            handles.push(cdc);
        }
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_secs(120) {
            gate.commit();
            pause(Duration::from_millis(100)).await;
        }
        applied.push(
            scene.applied().await.ranges().flat_map(|(_, ranges)| ranges.iter().map(|range| range.1)).sum::<u64>(),
        );
        assert_eq!(handles.iter().map(|cdc| cdc.status().rewinds_total).sum::<u64>(), 0);
    }
    assert!(applied[0] > 800, "{applied:?}");
    assert!(applied[1] * 10 >= applied[0] * 9 && applied[2] * 10 >= applied[0] * 9, "{applied:?}");
}

/// Each second the log has a newer end; the wait is for the one that was read first.
#[tokio::test(start_paused = true)]
async fn a_flush_completes_behind_a_slow_gate_while_commits_continue() {
    let scene = Scene::new();
    let gate = Late::new(&scene.source, Duration::from_secs(15));
    gate.commit();
    let cdc = scene.cdc().gate(Arc::new(gate.clone())).spawn().expect("spawned");
    let began = tokio::time::Instant::now();
    while cdc.status().state != CdcState::Running {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", cdc.status());
        gate.commit();
        pause(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(14), "it did not wait");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_continue_while_a_batch_waits_at_the_gate() {
    let scene = Scene::new();
    scene.table.set(1, 10);
    let cdc = scene.run().await;
    wait_until("the local tier serves", || async {
        scene.cache.get(&1).detailed().await.expect("a value").tier == Tier::Local
    })
    .await;
    scene.source.hide();
    scene.source.commit([row(2)]);
    // Longer than the bus may be silent and than a holder may be.
    for _ in 0..100 {
        pause(Duration::from_millis(100)).await;
        let hit = scene.cache.get(&1).detailed().await.expect("a value");
        assert!(hit.tier == Tier::Local || hit.age < Some(Duration::from_secs(1)), "{hit:?}");
    }
    assert_eq!(cdc.status().state, CdcState::Running);
    assert!(!scene.applied().await.covers(&scene.source.executed()));
    scene.source.reveal();
    scene.catches_up().await;
}

/// The transaction was delivered by a primary that died; the gate's server never gets it.
#[tokio::test(start_paused = true)]
async fn a_transaction_that_a_new_primary_lacks_is_a_gap_and_not_a_wait() {
    let scene = Scene::new();
    let replica = ScriptedSource::new("server-a");
    scene.table.set(1, 10);
    let cdc = scene.cdc().gate(Arc::new(replica)).spawn().expect("spawned");
    cdc.ready().await.expect("ready");
    assert_eq!(scene.cache.get(&1).await.expect("a value"), Some(10));
    scene.source.commit([row(2)]);
    pause(Duration::from_secs(5)).await;
    scene.source.become_server("server-b");
    scene.table.set(1, 11);
    scene.source.commit([row(1)]);
    pause(Duration::from_secs(5)).await;
    // The gate shows neither; until it does, cached values are not valid.
    let hit = scene.cache.get(&1).detailed().await.expect("a value");
    assert_eq!((hit.value, hit.tier), (Some(11), Tier::Database));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_leaves_is_replaced_within_half_a_second() {
    let scene = Scene::new();
    let second = scene.run().await;
    let first = scene.run().await;
    wait_until("the second stands by", || async { second.status().state == CdcState::Standby }).await;
    let closed = scene.source.closed();
    assert!(closed >= 1, "a standby needs no connection to the log");
    let began = tokio::time::Instant::now();
    first.shutdown().await;
    let mut states = second.watch();
    states.wait_for(|status| status.state == CdcState::Running).await.expect("it takes over");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    scene.source.commit([row(1)]);
    scene.catches_up().await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_is_replaced_after_its_silence() {
    let scene = Scene::new();
    let second = scene.run().await;
    let first = scene.run().await;
    wait_until("the second stands by", || async { second.status().state == CdcState::Standby }).await;
    // Its task ends as in a crash, without a last write.
    first.kill();
    let began = tokio::time::Instant::now();
    let mut states = second.watch();
    states.wait_for(|status| status.state == CdcState::Running).await.expect("it takes over");
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&took), "{took:?}");
}

/// A log whose server needs long to find the position.
#[derive(Debug)]
struct SlowOpen;

#[async_trait]
impl SourceLayer for SlowOpen {
    async fn open(&mut self, source: &mut dyn ChangeSource, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        pause(Duration::from_secs(10)).await;
        source.open(from, filter).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_long_about_opening_the_log_is_not_replaced() {
    let scene = Scene::new();
    let first = scene.run().await;
    let slow = LayeredSource::around(scene.source.clone(), SlowOpen);
    let second = scene.cdc_of(slow).spawn().expect("spawned");
    let mut states = second.watch();
    states.wait_for(|status| status.state == CdcState::Running).await.expect("it runs");
    assert_eq!(first.status().state, CdcState::Standby);
    assert_eq!(scene.term().await, 2, "the first one took the term back meanwhile");
}

/// The standby has not taken a term yet, because its gate lags behind the holder's; it was connected to the former primary,
/// and has not sent a request since.
#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_after_a_change_of_the_primary_is_replaced() {
    let scene = Scene::new();
    let quick = Late::new(&scene.source, Duration::ZERO);
    let holder = scene.cdc().gate(Arc::new(quick.clone())).spawn().expect("spawned");
    holder.ready().await.expect("ready");
    scene.source.hide();
    quick.commit();
    scene.catches_up().await;
    let second = scene.cdc().spawn().expect("spawned");
    wait_until("the second stands by", || async { second.status().state == CdcState::Standby }).await;
    scene.source.become_server("server-b");
    holder.kill();
    scene.source.reveal();
    let began = tokio::time::Instant::now();
    while second.status().state != CdcState::Running {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", second.status());
        pause(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_ends_the_invalidator_and_hands_over() {
    let scene = Scene::new();
    let second = scene.run().await;
    let first = scene.run().await;
    wait_until("the second stands by", || async { second.status().state == CdcState::Standby }).await;
    let began = tokio::time::Instant::now();
    drop(first);
    let mut states = second.watch();
    states.wait_for(|status| status.state == CdcState::Running).await.expect("it takes over");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn ready_returns_standby() {
    let scene = Scene::new();
    let first = scene.run().await;
    assert_eq!(first.ready().await.expect("ready"), CdcState::Running);
    let _newest = scene.run().await;
    wait_until("the first stands by", || async { first.status().state == CdcState::Standby }).await;
    assert_eq!(first.ready().await.expect("ready"), CdcState::Standby);
}

#[tokio::test(start_paused = true)]
async fn a_log_of_another_server_than_the_probes_flushes_everything() {
    let scene = Scene::new();
    scene.table.set(1, 10);
    scene.run().await.shutdown().await;
    assert_eq!(scene.cache.get(&1).await.expect("a value"), Some(10));
    scene.table.set(1, 11);
    scene.source.read_from("server-b");
    let cdc = scene.cdc().spawn().expect("spawned");
    wait_until("everything is flushed", || async { cdc.status().flushes_total > 0 }).await;
    assert_eq!(scene.cache.get(&1).await.expect("a value"), Some(11));
    assert_ne!(cdc.status().state, CdcState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_takes_over_uses_the_current_mode() {
    let scene = Scene::new();
    let second = scene.run().await;
    let first = scene.run().await;
    wait_until("the second stands by", || async { second.status().state == CdcState::Standby }).await;
    second.set_mode(InvalidationMode::Ttl);
    first.shutdown().await;
    let mut states = second.watch();
    states.wait_for(|status| status.state == CdcState::Running).await.expect("it takes over");
    assert_eq!(second.status().mode, InvalidationMode::Ttl);
}

#[tokio::test(start_paused = true)]
async fn a_source_time_is_not_carried_over_a_rewind_of_the_store() {
    let scene = Scene::new();
    scene.table.set(1, 10);
    let cdc = scene.run().await;
    wait_until("a time is known", || async { cdc.status().source_time.is_known() }).await;
    let before = cdc.status().source_time;
    scene.source.hide();
    scene.inner.forget();
    wait_until("a flush is requested", || async { cdc.status().state != CdcState::Running }).await;
    scene.source.reveal();
    let mut states = cdc.watch();
    let again = states.wait_for(|status| status.state == CdcState::Running).await.expect("it runs").clone();
    assert!(!again.source_time.is_known() || again.source_time > before, "{again:?}");
}
