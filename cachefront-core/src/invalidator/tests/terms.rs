//! Who has the term, while checks of the tables take long.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::*;
use crate::error::Result;
use crate::source::{ChangeSource, LayeredSource, SourceLayer, TableFilter};
use crate::testing::TokioClock;

/// A source whose checks of tables take this many milliseconds.
#[derive(Clone, Debug, Default)]
struct SlowChecks(Arc<AtomicU64>);

#[async_trait]
impl SourceLayer for SlowChecks {
    async fn preflight(&mut self, source: &mut dyn ChangeSource, filter: &TableFilter) -> Result<Vec<String>> {
        pause(Duration::from_millis(self.0.load(Ordering::SeqCst))).await;
        source.preflight(filter).await
    }
}

async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await; // sleep: on the paused clock, it takes no time
}

struct Scene {
    memory: MemoryStore,
    source: ScriptedSource,
    clock: Arc<TokioClock>,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(TokioClock::new());
        let memory = MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(&clock));
        Self { memory, source: ScriptedSource::new("server-a"), clock }
    }

    /// Starts an invalidator of these caches.
    async fn start(&self, caches: &[&'static str], checks: &SlowChecks) -> CdcHandle {
        let source = LayeredSource::around(self.source.clone(), checks.clone());
        let mut cdc = Cdc::new(source).clock(Arc::<TokioClock>::clone(&self.clock));
        for name in caches {
            let cache: Cache<u64, u64> = Cache::builder(name)
                .shared(self.memory.clone())
                .clock(Arc::<TokioClock>::clone(&self.clock))
                .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
                .build()
                .expect("a cache");
            cdc = cdc.bind(&cache);
        }
        let cdc = cdc.spawn().expect("spawned");
        let mut states = cdc.watch();
        states.wait_for(|status| status.state == CdcState::Running).await.expect("it takes the term");
        cdc
    }

    async fn term(&self) -> u64 {
        self.memory.writer().await.expect("a writer").term().await.expect("a term")
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_check_of_all_tables_is_long_is_not_replaced() {
    let (scene, slow) = (Scene::new(), SlowChecks::default());
    let first = scene.start(&["row"], &SlowChecks::default()).await;
    slow.0.store(10_000, Ordering::SeqCst);
    let _wider = scene.start(&["row", "other"], &slow).await;
    assert_eq!((scene.term().await, first.status().state), (2, CdcState::Standby), "the first one took the term back");
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_decided_before_another_takeover_waits_again() {
    let (scene, slow) = (Scene::new(), SlowChecks::default());
    let first = scene.start(&["row"], &slow).await;
    let second = scene.start(&["row"], &SlowChecks::default()).await;
    let holder = scene.start(&["row"], &SlowChecks::default()).await;
    for former in [&first, &second] {
        wait_until("it stands by", || async { former.status().state == CdcState::Standby }).await;
    }
    slow.0.store(10_000, Ordering::SeqCst);
    holder.kill();
    wait_until("the second has taken over", || async { second.status().state == CdcState::Running }).await;
    assert_eq!(scene.term().await, 4);
    pause(Duration::from_secs(60)).await;
    assert_eq!((scene.term().await, first.status().state), (4, CdcState::Standby), "its decision was ten seconds old");
    assert_eq!(second.status().state, CdcState::Running);
}

/// Each check is shorter than a heartbeat; together they are longer than the standbys' patience.
#[tokio::test(start_paused = true)]
async fn many_short_checks_of_tables_are_no_silence() {
    let (scene, checks) = (Scene::new(), SlowChecks::default());
    let caches = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let standby = scene.start(&caches, &SlowChecks::default()).await;
    let holder = scene.start(&caches, &checks).await;
    wait_until("the other one stands by", || async { standby.status().state == CdcState::Standby }).await;
    let term = scene.term().await;
    checks.0.store(200, Ordering::SeqCst);
    scene.source.commit([Change::Tables { tables: vec!["shop.row".into()], reason: "ALTER TABLE".into() }]);
    pause(Duration::from_secs(10)).await;
    assert_eq!((scene.term().await, standby.status().state), (term, CdcState::Standby));
    assert!(holder.status().applied.covers(&scene.source.executed()));
}
