//! A holder shows that it is alive, whatever it does for long: no standby takes the term from it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;

use super::liveness::{Scene, pause};
use super::*;
use crate::clock::{Clock, Sleep, Timestamp};
use crate::error::Result;
use crate::event::Batch;
use crate::source::{BatchLimits, ChangeSource, Checkpoint, Head, SourceProbe, TableFilter};
use crate::store::{LayeredStore, StoreLayer};
use crate::testing::{FaultyStore, Operation as Call, TokioClock};

/// Far longer than the standbys' patience, 1.5 s.
const LONG: Duration = Duration::from_secs(5);

/// Starts two invalidators, the first of which stands by.
async fn standby_and_holder(standby: Cdc, holder: Cdc) -> (CdcHandle, CdcHandle) {
    let standby = standby.spawn().expect("spawned");
    standby.ready().await.expect("ready");
    let holder = holder.spawn().expect("spawned");
    let mut states = holder.watch();
    states.wait_for(|status| status.state == CdcState::Running).await.expect("it takes the term");
    wait_until("the other one stands by", || async { standby.status().state == CdcState::Standby }).await;
    (standby, holder)
}

#[tokio::test(start_paused = true)]
async fn two_invalidators_get_through_a_batch_of_many_commands() {
    let scene = Scene::new();
    let settings = CdcSettings { keys_per_command_max: 1, ..CdcSettings::default() };
    let cdc = || scene.cdc().settings(settings);
    let (standby, holder) = standby_and_holder(cdc(), cdc()).await;
    let term = scene.term().await;
    scene.store.set_delay(LONG / 100);
    // More than are compared with the loads' positions, in one command.
    scene.source.commit((0..100).map(row));
    let took = scene.catches_up().await;
    assert!((LONG..LONG * 2).contains(&took), "{took:?}");
    assert_eq!((holder.status().state, standby.status().state), (CdcState::Running, CdcState::Standby));
    assert_eq!(scene.term().await, term);
}

/// A clock on which mappings take time, which they do not on the paused one.
#[derive(Debug)]
struct Working {
    clock: TokioClock,
    spent_ms: AtomicU64,
}

impl Clock for Working {
    fn now(&self) -> Timestamp {
        self.clock.now().after(Duration::from_millis(self.spent_ms.load(Ordering::SeqCst)))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.clock.sleep(duration)
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_maps_a_batch_for_long_shows_that_it_lives() {
    let clock = Arc::new(Working { clock: TokioClock::new(), spent_ms: AtomicU64::new(0) });
    let (store, source) = (FaultyStore::new(MemoryStore::new("t")), ScriptedSource::new("server-a"));
    let working = Arc::clone(&clock);
    let cache: Cache<u64, u64> = Cache::builder("row")
        .shared(store.clone())
        .depends_on("shop.row", move |row: &RowImage| {
            working.spent_ms.fetch_add(50, Ordering::SeqCst);
            Ok(vec![row.get::<u64>("id")?])
        })
        .build()
        .expect("a cache");
    let cdc = Cdc::new(source.clone()).bind(&cache).clock(clock).spawn().expect("spawned");
    cdc.ready().await.expect("ready");
    store.take_history();
    // Two images each: five seconds.
    source.commit((0..50).map(row));
    let executed = source.executed();
    wait_until("it is applied", || async { cdc.status().applied.covers(&executed) }).await;
    let history = store.take_history();
    let meanwhile = history.iter().take_while(|call| **call != Call::RaiseHighWatermark);
    let beats = meanwhile.filter(|call| **call == Call::Commit).count();
    assert!(beats >= 15, "{beats} in five seconds");
}

/// A source whose server replies late, once a test says so.
#[derive(Debug)]
struct Late {
    inner: ScriptedSource,
    delays: Delays,
}

/// How long the end of the log, and an acknowledgement, take.
#[derive(Clone, Debug, Default)]
struct Delays(Arc<[AtomicU64; 2]>);

impl Delays {
    const HEAD: usize = 0;
    const ACKNOWLEDGE: usize = 1;

    fn set(&self, of: usize, delay: Duration) {
        self.0[of].store(delay.as_secs(), Ordering::SeqCst);
    }

    async fn wait(&self, of: usize) {
        pause(Duration::from_secs(self.0[of].load(Ordering::SeqCst))).await;
    }
}

#[derive(Debug)]
struct LateProbe(Arc<dyn SourceProbe>, Delays);

#[async_trait]
impl SourceProbe for LateProbe {
    async fn head(&self) -> Result<Head> {
        self.1.wait(Delays::HEAD).await;
        self.0.head().await
    }
}

#[async_trait]
impl ChangeSource for Late {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        self.inner.preflight(filter).await
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.inner.open(from, filter).await
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        self.inner.next_batch(limits).await
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.delays.wait(Delays::ACKNOWLEDGE).await;
        self.inner.acknowledge(checkpoint).await
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        Arc::new(LateProbe(self.inner.probe(), self.delays.clone()))
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        self.inner.gate()
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_source_replies_late_is_not_replaced() {
    for of in [Delays::HEAD, Delays::ACKNOWLEDGE] {
        let (scene, delays) = (Scene::new(), Delays::default());
        let late = Late { inner: scene.source.clone(), delays: delays.clone() };
        let (standby, holder) = standby_and_holder(scene.cdc(), scene.cdc_of(late)).await;
        let flushes = holder.status().flushes_total;
        delays.set(of, LONG);
        if of == Delays::HEAD {
            scene.source.fail(Error::new(ErrorKind::Gap, "an event could not be read"));
            wait_until("it has flushed", || async { holder.status().flushes_total > flushes }).await;
        } else {
            scene.source.commit([row(1)]);
            let executed = scene.source.executed();
            wait_until("it is acknowledged", || async { scene.source.acknowledged().covers(&executed) }).await;
        }
        assert_eq!(standby.status().state, CdcState::Standby, "{of}");
    }
}

/// A term, and the holder's writes in it.
type Shown = (u64, u32);

/// A standby's connection to the store: what each read finds of the holder, which comes back during one of them.
struct ComesBack {
    memory: MemoryStore,
    holder: FaultyStore,
    /// At which read after it was held up the holder comes back.
    at: usize,
    held_up: AtomicBool,
    reads: AtomicUsize,
    seen: Mutex<Vec<Shown>>,
    /// What was seen before the term was taken.
    taken: Mutex<Option<Vec<Shown>>>,
}

impl fmt::Debug for ComesBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ComesBack")
    }
}

impl ComesBack {
    /// Returns what shows standbys that the holder is alive.
    async fn shown(&self) -> Shown {
        match self.memory.writer().await.expect("a writer").state().await.expect("a state") {
            StoreState::Live(meta) => (meta.term, meta.beat),
            _ => (0, 0),
        }
    }
}

/// The same connection for the store and for the test.
#[derive(Clone, Debug)]
struct Shared(Arc<ComesBack>);

impl StoreLayer for Shared {
    async fn around<T: Send>(&self, call: Call, done: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let this = &*self.0;
        if call == Call::State {
            let is_held_up = this.held_up.load(Ordering::SeqCst);
            if is_held_up && this.reads.fetch_add(1, Ordering::SeqCst) + 1 == this.at {
                let before = this.shown().await;
                this.holder.set_held_up(false);
                wait_until("the holder is back", || async { this.shown().await != before }).await;
            }
            let shown = this.shown().await;
            this.seen.lock().expect("unpoisoned").push(shown);
        }
        if call == Call::TakeTerm && this.held_up.load(Ordering::SeqCst) {
            *this.taken.lock().expect("unpoisoned") = Some(this.seen.lock().expect("unpoisoned").clone());
        }
        done.await
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_comes_back_in_time_keeps_its_term() {
    for at in 4..=10 {
        let scene = Scene::new();
        let connection = Shared(Arc::new(ComesBack {
            memory: scene.inner.clone(),
            holder: (*scene.store).clone(),
            at,
            held_up: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            seen: Mutex::default(),
            taken: Mutex::default(),
        }));
        let cache: Cache<u64, u64> = Cache::builder("row")
            .shared(LayeredStore::around(scene.inner.clone(), connection.clone()))
            .clock(Arc::<TokioClock>::clone(&scene.clock))
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache");
        let standby = Cdc::new(scene.source.clone()).bind(&cache).clock(Arc::<TokioClock>::clone(&scene.clock));
        let standby = standby.spawn().expect("spawned");
        standby.ready().await.expect("ready");
        let _holder = scene.run().await;
        wait_until("the other one stands by", || async { standby.status().state == CdcState::Standby }).await;
        connection.0.held_up.store(true, Ordering::SeqCst);
        scene.store.set_held_up(true);
        pause(LONG).await;
        let taken = connection.0.taken.lock().expect("unpoisoned").clone();
        assert!(at > 5 || taken.is_none(), "read {at}: {taken:?}");
        if let Some(seen) = taken {
            // Between the decision and the term the meta is read twice, and the term once.
            let (decided_on, _) = seen.split_at(seen.len() - 3);
            let silence = &decided_on[decided_on.len() - 7..];
            assert!(silence.iter().all(|shown| *shown == silence[0]), "read {at}: {seen:?}");
        }
    }
}
