//! What the store says of fences: the high watermark is above the order of `applied` while something was sent that `applied`
//! does not cover.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::*;
use crate::IntoStore;
use crate::error::Result;
use crate::event::Batch;
use crate::source::{BatchLimits, ChangeSource, LayeredSource, SourceLayer};
use crate::store::{LayeredStore, Meta, Operation as Call, StoreLayer};

fn fenced_over(store: impl IntoStore, table: &Table) -> Cache<u64, u64> {
    Cache::builder("row")
        .shared(store)
        .loader(table.clone())
        .loads_from("replica")
        .fenced()
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache")
}

impl World {
    fn fenced() -> Self {
        let (store, table) = (Arc::new(MemoryStore::new("t")), Table::default());
        let cache = fenced_over(Arc::clone(&store), &table);
        Self { store, source: ScriptedSource::new("server-a"), table, cache }
    }

    async fn meta(&self) -> Meta {
        match self.store.writer().await.expect("a writer").state().await.expect("a state") {
            StoreState::Live(meta) => meta,
            state => panic!("{state:?}"),
        }
    }

    /// True if a load would know its fence.
    async fn has_fence(&self) -> bool {
        let meta = self.meta().await;
        meta.high_watermark <= meta.applied_order
    }

    async fn has_a_fence_that_covers(&self, position: &Position) {
        wait_until("a fence is known", || async { self.has_fence().await }).await;
        assert!(self.meta().await.applied().covers(position), "the fence lacks what was sent");
    }
}

#[tokio::test]
async fn after_a_batch_its_fence_is_known() {
    let world = World::fenced();
    let _cdc = world.run().await;
    for value in 0..3 {
        world.update(1, value);
        world.caught_up().await;
        world.has_a_fence_that_covers(&world.source.executed()).await;
    }
}

/// The former holder may have sent more than it had applied: everything up to the source's end counts as sent.
#[tokio::test]
async fn a_takeover_has_no_fence_until_the_sources_end_is_applied() {
    let world = World::fenced();
    let first = world.run().await;
    world.update(1, 1);
    world.caught_up().await;
    world.source.hide();
    world.update(1, 2);
    let applied = world.meta().await.applied().clone();
    let _second = world.run().await;
    wait_until("the first stands by", || async { first.status().state == CdcState::Standby }).await;
    let before = world.meta().await;
    wait_until("it shows that it lives", || async { world.meta().await.beat > before.beat + 3 }).await;
    assert!(!world.has_fence().await && !world.meta().await.applied().covers(&world.source.executed()));
    assert_eq!(*world.meta().await.applied(), applied);
    world.source.reveal();
    world.has_a_fence_that_covers(&world.source.executed()).await;
}

type Act = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happens between the reading of the store's state and the first taking of the term.
struct BeforeTerm(Mutex<Option<Act>>);

impl fmt::Debug for BeforeTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeforeTerm")
    }
}

impl StoreLayer for BeforeTerm {
    async fn around<T: Send>(&self, call: Call, done: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let act = if call == Call::TakeTerm { self.0.lock().expect("unpoisoned").take() } else { None };
        if let Some(act) = act {
            act.await;
        }
        done.await
    }
}

/// The former holder goes on until its term is taken, and raises the high watermark meanwhile.
#[tokio::test]
async fn a_takeover_at_work_has_a_fence_without_another_commit() {
    let world = Arc::new(World::fenced());
    let first = world.run().await;
    let at_work = {
        let world = Arc::clone(&world);
        async move {
            for value in 0..3 {
                world.update(1, value);
                world.caught_up().await;
                world.has_a_fence_that_covers(&world.source.executed()).await;
            }
            first.shutdown().await;
        }
    };
    let layer = BeforeTerm(Mutex::new(Some(Box::pin(at_work))));
    let cache = fenced_over(LayeredStore::around(MemoryStore::clone(&world.store), layer), &world.table);
    let second = Cdc::new(world.source.clone()).bind(&cache).spawn().expect("spawned");
    second.ready().await.expect("ready");
    world.has_a_fence_that_covers(&world.source.executed()).await;
}

/// Delivers nothing after the first part of a transaction until it may.
#[derive(Debug)]
struct InParts(Arc<Notify>, bool);

#[async_trait]
impl SourceLayer for InParts {
    async fn next_batch(&mut self, source: &mut dyn ChangeSource, limits: &BatchLimits) -> Result<Batch> {
        if self.1 {
            self.0.notified().await;
            self.1 = false;
        }
        let batch = source.next_batch(limits).await?;
        self.1 = batch.transactions.iter().any(|transaction| !transaction.complete);
        Ok(batch)
    }
}

/// The first part of a transaction is applied and not yet in the position: as over Kafka, or in a large transaction.
#[tokio::test]
async fn while_a_part_of_a_transaction_was_sent_no_fence_is_known() {
    let world = World::fenced();
    let go_on = Arc::new(Notify::new());
    let source = LayeredSource::around(world.source.clone(), InParts(Arc::clone(&go_on), false));
    let settings = CdcSettings { batch_changes_max: 1, heartbeat: Duration::from_millis(10), ..CdcSettings::default() };
    let cdc = Cdc::new(source).bind(&world.cache).settings(settings).spawn().expect("spawned");
    cdc.ready().await.expect("ready");
    world.source.commit([row(1), row(2)]);
    wait_until("the first part is applied", || async { cdc.status().invalidations_total == 1 }).await;
    let before = world.meta().await;
    wait_until("heartbeats go on", || async { world.meta().await.beat > before.beat + 3 }).await;
    assert!(!world.has_fence().await && !world.meta().await.applied().covers(&world.source.executed()));
    go_on.notify_one();
    world.caught_up().await;
    world.has_a_fence_that_covers(&world.source.executed()).await;
}

/// A table's definition is checked after the head of a flush: what was written in between is not in the log.
#[tokio::test]
async fn a_flush_of_fenced_caches_has_a_fence_at_once() {
    let world = World::fenced();
    world.update(1, 1);
    let _cdc = world.run().await;
    world.has_a_fence_that_covers(&world.source.executed()).await;
}
