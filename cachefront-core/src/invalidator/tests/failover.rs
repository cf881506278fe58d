//! A store that fails over: readers, the bus and the invalidator move to the other server at different times.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use super::*;
use crate::bus::{BusMessage, BusRead, BusReader, InvalidationBus};
use crate::cache::Local;
use crate::error::Result;
use crate::event::Batch;
use crate::key::StoreKey;
use crate::source::{BatchLimits, ChangeSource, LayeredSource, SourceLayer};
use crate::store::{
    Applied, Cover, Coverage, Expected, Fill, FillReply, Generation, LeaseReply, LeaseRequest, MappingId, Meta,
    Reading, ServerId, StoreWriter, Token,
};
use crate::testing::TokioClock;

/// Two servers, and which component is connected to which.
#[derive(Clone, Debug)]
struct Failover(Arc<Servers>);

#[derive(Debug)]
struct Servers {
    old: MemoryStore,
    new: MemoryStore,
    reads_new: AtomicBool,
    writes_new: watch::Sender<bool>,
    bus_new: watch::Sender<bool>,
}

impl Failover {
    fn new(clock: &Arc<TokioClock>) -> Self {
        let server = || MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(clock));
        Self(Arc::new(Servers {
            old: server(),
            new: server(),
            reads_new: AtomicBool::new(false),
            writes_new: watch::Sender::new(false),
            bus_new: watch::Sender::new(false),
        }))
    }

    fn reads(&self) -> &MemoryStore {
        if self.0.reads_new.load(Ordering::SeqCst) { &self.0.new } else { &self.0.old }
    }

    fn move_readers(&self) {
        self.0.reads_new.store(true, Ordering::SeqCst);
    }

    /// Copies the primary's current entry of this key to the replica, and no other.
    async fn replicate(&self, key: &StoreKey) {
        let StoreState::Live(meta) = self.0.old.writer().await.expect("a writer").state().await.expect("a state")
        else {
            panic!("the store should be live");
        };
        self.0.new.writer().await.expect("a writer").flush(&meta).await.expect("a flush");
        let entry = self.0.old.get(key).await.expect("a reading").entry.expect("an entry");
        let row = &meta.coverage.rows()[0];
        let (token, mode) = (Token::from_u128(1).expect("a token"), InvalidationMode::Cdc);
        let duration = Duration::from_secs(9);
        let request =
            LeaseRequest { key, token, duration, mode, mapping: row.mapping, schema_version: 0, reload: false };
        let reply = self.0.new.lease(&request).await.expect("a reply");
        assert!(matches!(reply, LeaseReply::Granted { .. }), "{reply:?}");
        let expiry = Duration::from_secs(99);
        let fill = Fill { key, token, mode, generation: row.generation, entry: &entry, expiry };
        assert_eq!(self.0.new.fill(&fill).await.expect("a reply"), FillReply::Stored);
    }
}

#[async_trait]
impl Store for Failover {
    fn namespace(&self) -> &str {
        "t"
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        self.reads().get(key).await
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        self.reads().get_many(keys).await
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        self.reads().lease(request).await
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        self.reads().fill(fill).await
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        self.reads().release(key, token).await
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        self.reads().discard(keys).await
    }

    async fn discard_cache(&self, cache: &str) -> Result<()> {
        self.reads().discard_cache(cache).await
    }

    async fn covered(&self) -> Result<Coverage> {
        self.reads().covered().await
    }

    async fn flush_caches(&self, rows: &[(MappingId, Generation)]) -> Result<()> {
        self.reads().flush_caches(rows).await
    }

    async fn suspend(&self) -> Result<()> {
        self.reads().suspend().await
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        let born = *self.0.writes_new.borrow();
        let server = if born { &self.0.new } else { &self.0.old };
        Ok(Box::new(Writer { inner: server.writer().await?, servers: self.clone(), born }))
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        Arc::new(self.clone())
    }
}

#[derive(Debug)]
struct Writer {
    inner: Box<dyn StoreWriter>,
    servers: Failover,
    born: bool,
}

impl Writer {
    fn alive(&mut self) -> Result<&mut Box<dyn StoreWriter>> {
        match *self.servers.0.writes_new.borrow() == self.born {
            true => Ok(&mut self.inner),
            false => Err(Error::new(ErrorKind::Unavailable, "the connection is gone")),
        }
    }
}

#[async_trait]
impl StoreWriter for Writer {
    async fn state(&mut self) -> Result<StoreState> {
        self.alive()?.state().await
    }

    async fn term(&mut self) -> Result<u64> {
        self.alive()?.term().await
    }

    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()> {
        self.alive()?.take_term(state, term).await
    }

    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        self.alive()?.cover(expected, next, rows).await
    }

    async fn resign(&mut self, expected: &Expected) -> Result<()> {
        self.alive()?.resign(expected).await
    }

    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()> {
        self.alive()?.raise_high_watermark(expected, order).await
    }

    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()> {
        self.alive()?.invalidate(keys).await
    }

    async fn publish(&mut self, message: &BusMessage) -> Result<u64> {
        self.alive()?.publish(message).await
    }

    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        self.alive()?.commit(expected, applied).await
    }

    async fn flush(&mut self, meta: &Meta) -> Result<()> {
        self.alive()?.flush(meta).await
    }
}

#[async_trait]
impl InvalidationBus for Failover {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        self.reads().bus().publish(message).await
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        let born = *self.0.bus_new.borrow();
        let server = if born { &self.0.new } else { &self.0.old };
        Ok(Box::new(Reader { inner: server.bus().subscribe().await?, moved: self.0.bus_new.subscribe(), born }))
    }
}

#[derive(Debug)]
struct Reader {
    inner: Box<dyn BusReader>,
    moved: watch::Receiver<bool>,
    born: bool,
}

#[async_trait]
impl BusReader for Reader {
    fn head(&self) -> u64 {
        self.inner.head()
    }

    fn server(&self) -> ServerId {
        self.inner.server()
    }

    async fn next(&mut self) -> Result<Vec<BusRead>> {
        let born = self.born;
        tokio::select! {
            biased;
            _ = self.moved.wait_for(|now| *now != born) => Err(Error::new(ErrorKind::Unavailable, "the connection is gone")),
            reads = self.inner.next() => reads,
        }
    }
}

/// Reading that can be held up: a backlog, a slow reconnect.
#[derive(Debug)]
struct HeldUp(watch::Receiver<bool>);

#[async_trait]
impl SourceLayer for HeldUp {
    async fn next_batch(&mut self, source: &mut dyn ChangeSource, limits: &BatchLimits) -> Result<Batch> {
        let _ = self.0.wait_for(|held| !held).await;
        source.next_batch(limits).await
    }
}

struct Scene {
    servers: Failover,
    source: ScriptedSource,
    table: Table,
    /// The process under test, and another one that fills the store.
    cache: Cache<u64, u64>,
    filler: Cache<u64, u64>,
    held: watch::Sender<bool>,
    cdc: CdcHandle,
}

impl Scene {
    /// Key 1 is in the store of both servers with the value 10; the old server stays up.
    async fn replicated() -> Self {
        let clock = Arc::new(TokioClock::new());
        let (servers, source, table) = (Failover::new(&clock), ScriptedSource::new("server-a"), Table::default());
        let build = |local: Option<Local>| {
            let builder = Cache::builder("row")
                .shared(servers.clone())
                .clock(Arc::<TokioClock>::clone(&clock))
                .loader(table.clone())
                .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]));
            local.into_iter().fold(builder, |builder, local| builder.local(local)).build().expect("a cache")
        };
        let (cache, filler) = (build(Some(Local::max_weight(1 << 20))), build(None));
        table.set(1, 10);
        source.commit([row(1)]);
        let held = watch::Sender::new(false);
        let log = LayeredSource::around(source.clone(), HeldUp(held.subscribe()));
        let cdc = Cdc::new(log).bind(&filler).clock(Arc::<TokioClock>::clone(&clock)).spawn().expect("spawned");
        cdc.ready().await.expect("ready");
        assert_eq!(filler.get(&1).await.expect("a value"), Some(10));
        servers.replicate(&StoreKey::encode("row", &1_u64).expect("a key")).await;
        Self { servers, source, table, cache, filler, held, cdc }
    }

    /// Changes key 1 and returns the commit's token once the old server and this process have handled it.
    async fn overwrite(&self, value: u64) -> Position {
        self.table.set(1, value);
        self.source.commit([row(1)]);
        let token = self.source.executed();
        wait_until("this process has handled the bus", || async {
            let hit = self.cache.get(&99).detailed().await.expect("a value");
            hit.tier == Tier::Local && hit.position.is_some_and(|position| position.covers(&token))
        })
        .await;
        token
    }
}

#[tokio::test(start_paused = true)]
async fn session_reads_hold_while_the_bus_is_on_another_server() {
    let scene = Scene::replicated().await;
    let token = scene.overwrite(11).await;
    // The primary's host disappears: the readers reconnect first, to the promoted replica.
    scene.servers.move_readers();
    assert_eq!(scene.cache.get(&1).await.expect("a value"), Some(10), "eventual: the surviving history");
    for _ in 0..3 {
        let hit = scene.cache.get(&1).at_least(&token).detailed().await.expect("a value");
        assert_eq!(hit.value, Some(11), "{hit:?}");
    }
    assert_eq!(scene.filler.get(&1).at_least(&token).await.expect("a value"), Some(11));
}

#[tokio::test(start_paused = true)]
async fn a_value_read_from_a_demoted_server_is_not_kept_in_the_local_tier() {
    let scene = Scene::replicated().await;
    // The bus and the invalidator move to the promoted server; readers stay on the old one, which keeps what it had.
    scene.servers.0.writes_new.send_replace(true);
    scene.servers.0.bus_new.send_replace(true);
    let mut states = scene.cdc.watch();
    states.wait_for(|status| status.state != CdcState::Running).await.expect("its connection is gone");
    states.wait_for(|status| status.state == CdcState::Running).await.expect("it runs on the new server");
    scene.table.set(1, 11);
    scene.source.commit([row(1)]);
    let executed = scene.source.executed();
    wait_until("it is applied", || async { scene.cdc.status().applied.covers(&executed) }).await;
    for _ in 0..20 {
        let hit = scene.cache.get(&1).detailed().await.expect("a value");
        assert_ne!(hit.tier, Tier::Local, "{hit:?}");
        tokio::time::sleep(Duration::from_millis(100)).await; // sleep: on the paused clock, it takes no time
    }
    scene.servers.move_readers();
    wait_until("the new value is read", || async { scene.cache.get(&1).await.expect("a value") == Some(11) }).await;
    wait_until("the local tier serves again", || async {
        scene.cache.get(&1).detailed().await.expect("a value").tier == Tier::Local
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bound_holds_through_a_failover_to_an_older_state() {
    let scene = Scene::replicated().await;
    scene.overwrite(11).await;
    let overwritten = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await; // sleep: on the paused clock, it takes no time
    // Every component moves to the server that lacks the later value, and its replay is slow.
    scene.held.send_replace(true);
    scene.servers.move_readers();
    scene.servers.0.writes_new.send_replace(true);
    scene.servers.0.bus_new.send_replace(true);
    wait_until("the older value is in the local tier, as an eventual read may find it", || async {
        let hit = scene.cache.get(&1).detailed().await.expect("a value");
        hit.tier == Tier::Local && hit.value == Some(10)
    })
    .await;
    // A heartbeat is sent, with the invalidator's source time.
    tokio::time::sleep(Duration::from_secs(1)).await; // sleep: on the paused clock, it takes no time
    let plain = scene.cache.get(&1).detailed().await.expect("a value");
    let since = overwritten.elapsed();
    assert_eq!((plain.value, plain.tier), (Some(10), Tier::Local), "else the test proves nothing");
    assert!(plain.staleness_bound.is_none_or(|bound| bound >= since), "{plain:?} after {since:?}");
    let hit = scene.cache.get(&1).max_staleness(Duration::from_millis(3_500)).detailed().await.expect("a value");
    assert_eq!(hit.value, Some(11), "{hit:?} after {since:?}");
    scene.held.send_replace(false);
    wait_until("the replay is through", || async { scene.cache.get(&1).await.expect("a value") == Some(11) }).await;
}
