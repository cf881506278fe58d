//! The inspector over a scripted log and the in-memory store, next to an invalidator that works, is late, loses changes, or
//! has a wrong mapping.

mod convergence;
mod kinds;
mod settings;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::IntoStore;
use crate::cache::{Cache, Local};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Change, Operation, RowChange, RowImage, Value};
use crate::inspect::{Inspector, InspectorBuilder, Watch};
use crate::invalidator::{Cdc, CdcHandle};
use crate::loader::{LoadCx, Loader};
use crate::position::{Gtid, Position};
use crate::settings::InspectSettings;
use crate::source::{BatchLimits, ChangeSource, LayeredSource, SourceLayer};
use crate::store::MemoryStore;
use crate::testing::{ScriptedSource, TokioClock, wait_until};

/// Every key of the tests.
const IDS: std::ops::RangeInclusive<u64> = 1..=20;

/// A table, and what was committed to it.
#[derive(Clone)]
struct Table {
    rows: Arc<Mutex<HashMap<u64, u64>>>,
    log: ScriptedSource,
}

impl Table {
    /// Writes a row and commits; its change names `named`, or the row's own id.
    fn set(&self, id: u64, value: u64, named: Option<u64>) -> Gtid {
        let mut rows = self.rows.lock().expect("unpoisoned");
        rows.insert(id, value);
        let after = Some(RowImage::from_pairs([("id", Value::UInt(named.unwrap_or(id)))]));
        self.log.commit([Change::Row(RowChange {
            table: "shop.row".into(),
            operation: Operation::Update,
            before: None,
            after,
        })])
    }
}

impl Loader<u64, u64> for Table {
    type Error = std::io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> std::io::Result<Option<u64>> {
        // The lock makes it certain that the position contains what the row does, and no more.
        let rows = self.rows.lock().expect("unpoisoned");
        cx.position(self.log.executed());
        Ok(rows.get(key).copied())
    }
}

/// What happens to changes on their way out of a source. A clone has the same switches.
#[derive(Clone, Debug, Default)]
struct Faults {
    drops: Arc<AtomicBool>,
    holds: Arc<AtomicBool>,
    fails: Arc<AtomicBool>,
    /// A batch that was read before it was held.
    kept: Option<Batch>,
}

impl Faults {
    fn drop_changes(&self, on: bool) {
        self.drops.store(on, Ordering::SeqCst);
    }

    fn hold(&self, on: bool) {
        self.holds.store(on, Ordering::SeqCst);
    }

    /// Makes the next read fail, once.
    fn fail(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl SourceLayer for Faults {
    async fn next_batch(&mut self, source: &mut dyn ChangeSource, limits: &BatchLimits) -> Result<Batch> {
        if self.kept.is_none() {
            let mut batch = source.next_batch(limits).await?;
            if self.drops.load(Ordering::SeqCst) {
                batch.transactions.iter_mut().for_each(|transaction| transaction.changes.clear());
            }
            self.kept = Some(batch);
        }
        wait_until("the log is not held", || async { !self.holds.load(Ordering::SeqCst) }).await;
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Gap, "the log was purged"));
        }
        Ok(self.kept.take().unwrap_or_default())
    }
}

async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await; // sleep: on the paused clock, it takes no time
}

struct World {
    table: Table,
    cache: Cache<u64, u64>,
    faults: Faults,
    clock: Arc<TokioClock>,
    cdc: CdcHandle,
}

impl World {
    async fn new(local: bool) -> Self {
        Self::over(local, |store| store).await
    }

    /// A world whose processes reach the store through `connection`.
    async fn over<S: IntoStore>(local: bool, connection: impl FnOnce(MemoryStore) -> S) -> Self {
        let log = ScriptedSource::new("server-a");
        let table = Table { rows: Arc::default(), log: log.clone() };
        for id in IDS {
            table.set(id, 0, None);
        }
        let clock = Arc::new(TokioClock::new());
        let mut builder = Cache::builder("row")
            .clock(Arc::<TokioClock>::clone(&clock))
            .shared(connection(MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(&clock))))
            .loader(table.clone())
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]));
        if local {
            builder = builder.local(Local::max_weight(1 << 20));
        }
        let cache = builder.build().expect("a cache");
        let faults = Faults::default();
        let source = LayeredSource::around(log, faults.clone());
        let cdc =
            Cdc::new(source).bind(&cache).clock(Arc::<TokioClock>::clone(&clock)).spawn().expect("an invalidator");
        cdc.ready().await.expect("ready");
        Self { table, cache, faults, clock, cdc }
    }

    fn builder(&self) -> InspectorBuilder {
        let watch = Watch::new(&self.cache).sample(|_| async { Ok(IDS.collect()) });
        let settings = InspectSettings::default().with_pass_every(Duration::ZERO).with_grace(Duration::from_millis(20));
        Inspector::builder().watch(watch).settings(settings).clock(Arc::<TokioClock>::clone(&self.clock))
    }

    /// An inspector that follows the log.
    async fn inspector(&self, repair: bool) -> Inspector {
        let settings = InspectSettings::default()
            .with_pass_every(Duration::ZERO)
            .with_grace(Duration::from_millis(20))
            .with_repair(repair);
        let inspector = self.builder().settings(settings).follow(self.table.log.clone()).spawn().expect("an inspector");
        wait_until("the log is followed", || async { inspector.report().followed.is_some() }).await;
        inspector
    }

    /// An inspector that follows the log and compares with what `loader` returns.
    async fn inspector_of(&self, loader: impl Loader<u64, u64>, pass_every: Duration) -> Inspector {
        let watch = Watch::new(&self.cache).loader(loader).sample(|_| async { Ok(IDS.collect()) });
        let settings = InspectSettings::default().with_pass_every(pass_every).with_grace(Duration::from_millis(20));
        let inspector = Inspector::builder().watch(watch).settings(settings);
        let inspector = inspector.clock(Arc::<TokioClock>::clone(&self.clock)).follow(self.table.log.clone());
        let inspector = inspector.spawn().expect("an inspector");
        wait_until("the log is followed", || async { inspector.report().followed.is_some() }).await;
        inspector
    }

    /// Reads every key, so that it is cached.
    async fn fill(&self) {
        for id in IDS {
            self.cache.get(&id).await.expect("a value");
        }
    }

    async fn applied(&self, commit: &Gtid) {
        let mut position = Position::new();
        position.insert(commit);
        wait_until("the commit is applied", || async { self.cdc.status().applied.covers(&position) }).await;
    }
}
