//! A source that elects one of several invalidators, as a consumer group does.

use async_trait::async_trait;
use tokio::sync::watch;

use super::*;
use crate::error::Result;
use crate::event::Batch;
use crate::source::{BatchLimits, ChangeSource, Checkpoint, Lead, SourceProbe, TableFilter};
use crate::testing::{FaultyStore, TokioClock};

/// Who leads: the first of the members.
type Members = Arc<watch::Sender<Vec<u32>>>;

/// A member of the election.
#[derive(Debug)]
struct Member {
    inner: ScriptedSource,
    id: u32,
    members: Members,
}

#[async_trait]
impl ChangeSource for Member {
    fn describe(&self) -> String {
        format!("member {}", self.id)
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        self.inner.preflight(filter).await
    }

    async fn lead(&mut self) -> Result<Lead> {
        self.members.send_if_modified(|members| {
            let joins = !members.contains(&self.id);
            members.extend(joins.then_some(self.id));
            joins
        });
        let mut members = self.members.subscribe();
        let _ = members.wait_for(|members| members.first() == Some(&self.id)).await;
        Ok(Lead::Elected)
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.inner.open(from, filter).await
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        self.inner.next_batch(limits).await
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.inner.acknowledge(checkpoint).await
    }

    async fn resign(&mut self) {
        self.members.send_modify(|members| members.retain(|id| *id != self.id));
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        self.inner.probe()
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        self.inner.gate()
    }
}

/// Two members, the first of which reads and writes the store over a connection that can fail.
struct Scene {
    memory: MemoryStore,
    connection: FaultyStore,
    source: ScriptedSource,
    members: Members,
    clock: Arc<TokioClock>,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(TokioClock::new());
        let memory = MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(&clock));
        let connection = FaultyStore::new(memory.clone());
        Self { memory, connection, source: ScriptedSource::new("server-a"), members: Arc::default(), clock }
    }

    fn start(&self, id: u32, store: impl Store) -> CdcHandle {
        let cache: Cache<u64, u64> = Cache::builder("row")
            .shared(store)
            .clock(Arc::<TokioClock>::clone(&self.clock))
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache");
        let member = Member { inner: self.source.clone(), id, members: Arc::clone(&self.members) };
        Cdc::new(member).bind(&cache).clock(Arc::<TokioClock>::clone(&self.clock)).spawn().expect("spawned")
    }

    async fn first(&self) -> CdcHandle {
        let first = self.start(1, self.connection.clone());
        first.ready().await.expect("ready");
        first
    }

    async fn second(&self) -> CdcHandle {
        let second = self.start(2, self.memory.clone());
        assert_eq!(second.ready().await.expect("ready"), CdcState::Standby);
        second
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_work_is_replaced() {
    let scene = Scene::new();
    let (first, second) = (scene.first().await, scene.second().await);
    scene.connection.set_down(true);
    let began = tokio::time::Instant::now();
    wait_until("the second member leads", || async { second.status().state == CdcState::Running }).await;
    let took = began.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(12)).contains(&took), "{took:?}");
    scene.source.commit([row(1)]);
    let executed = scene.source.executed();
    wait_until("it applies what is committed", || async { second.status().applied.covers(&executed) }).await;
    // The first one is a member again, and does not lead while the other one does.
    wait_until("the first member waits", || async { first.status().state == CdcState::Standby }).await;
    scene.connection.set_down(false);
    second.shutdown().await;
    scene.members.send_modify(|members| members.retain(|id| *id != 2));
    wait_until("the first member leads again", || async { first.status().state == CdcState::Running }).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_fails_now_and_then_stays() {
    let scene = Scene::new();
    let (first, second) = (scene.first().await, scene.second().await);
    for _ in 0..10 {
        scene.connection.set_down(true);
        wait_until("it fails", || async { first.status().state == CdcState::Retrying }).await;
        tokio::time::sleep(Duration::from_secs(1)).await; // sleep: on the paused clock, it takes no time
        scene.connection.set_down(false);
        wait_until("it works again", || async { first.status().state == CdcState::Running }).await;
        tokio::time::sleep(Duration::from_secs(1)).await; // sleep: on the paused clock, it takes no time
    }
    assert_eq!(*scene.members.borrow(), [1, 2]);
    assert_eq!(second.status().state, CdcState::Standby);
}
