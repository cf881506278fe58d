//! The invalidator over a scripted log and the in-memory store: gate, rewind, gap, takeover, switch of mode.

mod beats;
mod coverage;
mod definitions;
mod election;
mod failover;
mod fence;
mod handle;
mod images;
mod liveness;
mod order;
mod said;
mod terms;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{AppliedBatch, Cdc, CdcHandle, CdcObserver, CdcState};
use crate::cache::{Cache, Tier};
use crate::error::{Error, ErrorKind};
use crate::event::{Change, Operation, RowChange, RowImage, Value};
use crate::gate::VisibilityGate;
use crate::loader::{LoadCx, Loader};
use crate::position::Position;
use crate::settings::CdcSettings;
use crate::store::{InvalidationMode, MemoryStore, Store, StoreState};
use crate::testing::{ScriptedSource, wait_until};

/// A table whose rows are visible to readers only once their commit is.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<HashMap<u64, u64>>>);

impl Table {
    fn set(&self, id: u64, value: u64) {
        self.0.lock().expect("unpoisoned").insert(id, value);
    }
}

impl Loader<u64, u64> for Table {
    type Error = std::io::Error;

    async fn load(&self, key: &u64, _cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        Ok(self.0.lock().expect("unpoisoned").get(key).copied())
    }
}

struct World {
    store: Arc<MemoryStore>,
    source: ScriptedSource,
    table: Table,
    cache: Cache<u64, u64>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new("t"));
        let table = Table::default();
        let cache = Cache::builder("row")
            .shared(Arc::clone(&store))
            .loader(table.clone())
            .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
            .build()
            .expect("a cache");
        Self { store, source: ScriptedSource::new("server-a"), table, cache }
    }

    fn cdc(&self) -> Cdc {
        let settings = CdcSettings {
            heartbeat: Duration::from_millis(10),
            gate_timeout: Duration::from_millis(20),
            retry_min: Duration::from_millis(1),
            retry_max: Duration::from_millis(20),
            ..CdcSettings::default()
        };
        Cdc::new(self.source.clone()).bind(&self.cache).settings(settings)
    }

    async fn run(&self) -> CdcHandle {
        let cdc = self.cdc().spawn().expect("spawned");
        cdc.ready().await.expect("ready");
        cdc
    }

    fn update(&self, id: u64, value: u64) {
        self.table.set(id, value);
        self.source.commit([row(id)]);
    }

    async fn read(&self, id: u64) -> (Option<u64>, Tier) {
        let hit = self.cache.get(&id).detailed().await.expect("a value");
        (hit.value, hit.tier)
    }

    async fn caught_up(&self) {
        let executed = self.source.executed();
        wait_until("everything is applied", || async {
            match self.store.writer().await.expect("a writer").state().await.expect("a state") {
                StoreState::Live(meta) => meta.applied().covers(&executed),
                _ => false,
            }
        })
        .await;
    }
}

fn row(id: u64) -> Change {
    let image = || RowImage::from_pairs([("id", Value::UInt(id))]);
    Change::Row(RowChange {
        table: "shop.row".into(),
        operation: Operation::Update,
        before: Some(image()),
        after: Some(image()),
    })
}

#[tokio::test]
async fn a_store_that_another_one_suspended_and_left_is_made_live_again() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.read(1).await;
    // An invalidator that was about to flush waited at its gate, and died there.
    world.store.suspend().await.expect("a suspension");
    wait_until("values are cached again", || async { world.read(1).await.1 == Tier::Shared }).await;
    assert_eq!(cdc.status().state, CdcState::Running);
    cdc.shutdown().await;
}

#[tokio::test]
async fn a_commit_makes_exactly_its_key_miss() {
    let world = World::new();
    world.table.set(1, 10);
    world.table.set(2, 20);
    let cdc = world.run().await;
    world.read(1).await;
    world.read(2).await;
    world.update(1, 11);
    world.caught_up().await;
    assert_eq!(world.read(1).await, (Some(11), Tier::Database));
    assert_eq!(world.read(2).await, (Some(20), Tier::Shared));
    let status = cdc.status();
    assert_eq!((status.events_total, status.invalidations_total), (1, 1));
    assert_eq!(world.source.acknowledged(), world.source.executed());
    cdc.shutdown().await;
}

#[tokio::test]
async fn nothing_is_applied_before_the_commit_can_be_read() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.read(1).await;
    world.source.hide();
    world.source.commit([row(1)]);
    let applied = cdc.status().applied;
    // Several waits at the gate time out; the old value stays, because it is still what the database returns.
    let mut beats = cdc.watch();
    for _ in 0..5 {
        assert_eq!(world.read(1).await, (Some(10), Tier::Shared));
        let _ = tokio::time::timeout(Duration::from_millis(30), beats.changed()).await;
    }
    assert_eq!(cdc.status().applied, applied);
    world.table.set(1, 11);
    world.source.reveal();
    world.caught_up().await;
    assert_eq!(world.read(1).await, (Some(11), Tier::Database));
}

#[tokio::test]
async fn a_restart_resumes_from_the_stores_checkpoint() {
    let world = World::new();
    world.table.set(1, 10);
    world.run().await.shutdown().await;
    world.read(1).await;
    world.update(1, 11);
    assert_eq!(world.read(1).await, (Some(10), Tier::Shared));
    let cdc = world.run().await;
    world.caught_up().await;
    assert_eq!(world.read(1).await, (Some(11), Tier::Database));
    assert_eq!(cdc.status().flushes_total, 0);
}

#[tokio::test]
async fn a_store_that_lost_everything_is_flushed() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.read(1).await;
    let flushes = cdc.status().flushes_total;
    world.store.forget();
    world.update(1, 11);
    wait_until("a new generation began", || async { cdc.status().flushes_total > flushes }).await;
    world.caught_up().await;
    assert_eq!(world.read(1).await.0, Some(11));
    assert_eq!(world.read(1).await, (Some(11), Tier::Shared));
}

#[tokio::test]
async fn a_purged_log_flushes_everything() {
    let world = World::new();
    world.table.set(1, 10);
    world.run().await.shutdown().await;
    world.read(1).await;
    world.update(1, 11);
    world.source.purge();
    let cdc = world.run().await;
    assert_eq!(world.read(1).await, (Some(11), Tier::Database));
    assert_eq!(cdc.status().flushes_total, 1);
}

#[tokio::test]
async fn a_gap_in_mid_stream_flushes_everything() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.read(1).await;
    world.table.set(1, 11);
    world.source.fail(Error::new(ErrorKind::Gap, "an event could not be read"));
    wait_until("everything was flushed", || async { cdc.status().flushes_total == 2 }).await;
    wait_until("it runs again", || async { cdc.status().state == CdcState::Running }).await;
    assert_eq!(world.read(1).await, (Some(11), Tier::Database));
    world.update(1, 12);
    world.caught_up().await;
    assert_eq!(world.read(1).await, (Some(12), Tier::Database));
}

#[tokio::test]
async fn a_change_that_cannot_be_mapped_or_has_no_rows_flushes_its_cache() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    for (flushes, change) in [
        (2, Change::Tables { tables: vec!["shop.row".into()], reason: "TRUNCATE".into() }),
        (3, Change::Tables { tables: Vec::new(), reason: "an unknown statement".into() }),
        (4, without_id()),
    ] {
        world.read(1).await;
        assert_eq!(world.read(1).await.1, Tier::Shared);
        world.source.commit([change]);
        world.caught_up().await;
        assert_eq!(world.read(1).await.1, Tier::Database);
        assert_eq!(cdc.status().flushes_total, flushes);
    }
    world.source.commit([Change::Tables { tables: vec!["shop.other".into()], reason: "ALTER TABLE".into() }]);
    world.caught_up().await;
    assert_eq!(world.read(1).await.1, Tier::Shared);
}

fn without_id() -> Change {
    Change::Row(RowChange {
        table: "shop.row".into(),
        operation: Operation::Insert,
        before: None,
        after: Some(RowImage::from_pairs([("uid", Value::UInt(1))])),
    })
}

#[tokio::test]
async fn another_server_is_a_gap() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.read(1).await;
    world.table.set(1, 11);
    world.source.become_server("server-b");
    wait_until("everything was flushed", || async { cdc.status().flushes_total == 2 }).await;
    wait_until("it is served again", || async { world.read(1).await.0 == Some(11) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_lost_transactions_is_a_gap() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    (0..3).for_each(|_| world.update(1, 10));
    world.caught_up().await;
    wait_until("it is a hit", || async { world.read(1).await.1 == Tier::Shared }).await;
    // Another history under the same numbers, which the source has "read".
    world.source.restore(1);
    world.update(1, 11);
    world.source.fail(Error::new(ErrorKind::Unavailable, "the server was restored"));
    wait_until("everything was flushed", || async { cdc.status().flushes_total == 2 }).await;
    wait_until("it is served again", || async { world.read(1).await.0 == Some(11) }).await;
    world.update(1, 12);
    wait_until("later changes are applied", || async { world.read(1).await.0 == Some(12) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_position_ahead_of_the_servers_own_is_no_loss() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.update(1, 11);
    world.caught_up().await;
    // A commit that is in the log and waits for a replica: the server counts it as executed later.
    let ahead = world.source.clone();
    world.source.defer_executed();
    ahead.commit([]);
    wait_until("it is applied", || async { cdc.status().applied.to_string() == "server-a:1-2" }).await;
    world.source.fail(Error::new(ErrorKind::Unavailable, "a new session"));
    tokio::time::sleep(Duration::from_millis(100)).await; // sleep: it reads the end again, on the paused clock
    world.source.reveal();
    wait_until("it runs", || async { cdc.status().state == CdcState::Running }).await;
    assert_eq!(cdc.status().flushes_total, 1);
}

#[tokio::test]
async fn leaving_cdc_mode_suspends_the_store_and_returning_flushes_it() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.read(1).await;
    cdc.set_mode(InvalidationMode::Ttl);
    wait_until("changes are only read", || async { cdc.status().mode == InvalidationMode::Ttl }).await;
    world.cache.set_mode(InvalidationMode::Ttl);
    assert_eq!(world.read(1).await, (Some(10), Tier::Database));
    world.update(1, 11);
    wait_until("the change was read", || async { cdc.status().events_total == 1 }).await;
    assert_eq!(world.read(1).await, (Some(10), Tier::Shared));
    // The mode is set back in this process before the invalidator's: no old value is served.
    world.cache.set_mode(InvalidationMode::Cdc);
    assert_eq!(world.read(1).await, (Some(11), Tier::Database));
    cdc.set_mode(InvalidationMode::Cdc);
    world.caught_up().await;
    world.read(1).await;
    assert_eq!(world.read(1).await, (Some(11), Tier::Shared));
}

#[tokio::test]
async fn of_two_invalidators_one_is_active_and_the_other_takes_over() {
    let world = World::new();
    world.table.set(1, 10);
    let first = world.run().await;
    let second = world.run().await;
    wait_until("the first stands by", || async { first.status().state == CdcState::Standby }).await;
    world.update(1, 11);
    world.caught_up().await;
    assert_eq!(second.status().events_total, 1);
    second.shutdown().await;
    wait_until("the first has taken over", || async { first.status().state == CdcState::Running }).await;
    world.read(1).await;
    world.update(1, 12);
    world.caught_up().await;
    assert_eq!(world.read(1).await.0, Some(12));
}

#[tokio::test]
async fn the_watermark_moves_while_nothing_changes_and_proves_a_bound() {
    let world = World::new();
    world.table.set(1, 10);
    let cdc = world.run().await;
    world.read(1).await;
    wait_until("the watermark has passed the fill", || async {
        let hit = world.cache.get(&1).max_staleness(Duration::from_millis(500)).detailed().await.expect("a value");
        hit.tier == Tier::Shared && cdc.status().source_time.is_known()
    })
    .await;
    let first = cdc.status().source_time;
    wait_until("the watermark moves", || async { cdc.status().source_time > first }).await;
}

#[tokio::test]
async fn an_observer_is_notified_after_the_effects() {
    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<(String, Position)>>);
    impl CdcObserver for Seen {
        fn applied(&self, batch: &AppliedBatch) {
            assert!(batch.received_at.is_known() && batch.received_at <= batch.visible_at, "{batch:?}");
            assert!(batch.visible_at <= batch.applied_at, "{batch:?}");
            for change in &batch.changes {
                let keys: Vec<&str> = change.keys.iter().map(|key| key.as_str()).collect();
                let line = format!("{} {} {}", change.table, change.operation, keys.join(","));
                self.0.lock().expect("unpoisoned").push((line, batch.applied.clone()));
            }
        }
    }
    let world = World::new();
    let seen = Arc::new(Seen::default());
    let cdc = world.cdc().observer(Arc::<Seen>::clone(&seen)).spawn().expect("spawned");
    cdc.ready().await.expect("ready");
    world.update(5, 1);
    wait_until("the observer was notified", || async { !seen.0.lock().expect("unpoisoned").is_empty() }).await;
    let seen = seen.0.lock().expect("unpoisoned").clone();
    assert_eq!(seen, [("shop.row update row:5".to_owned(), world.source.executed())]);
}

#[tokio::test]
async fn a_configuration_error_is_returned_once_and_ends_the_invalidator() {
    let world = World::new();
    world.source.fail(Error::new(ErrorKind::Config, "binlog_format is STATEMENT"));
    let cdc = world.cdc().spawn().expect("spawned");
    assert_eq!(cdc.ready().await.expect_err("it cannot start").kind(), ErrorKind::Config);
    assert_eq!(cdc.status().state, CdcState::Failed);
    let unbound = Cdc::new(ScriptedSource::new("x")).spawn().expect_err("nothing is bound");
    assert!(unbound.to_string().contains("bind"));
}

#[tokio::test]
async fn a_mapping_that_panics_costs_its_cache_only() {
    let world = World::new();
    let picky = Cache::<u64, u64>::builder("picky")
        .shared(Arc::clone(&world.store))
        .loader(world.table.clone())
        .depends_on("shop.row", |row: &RowImage| {
            let id = row.get::<u64>("id")?;
            assert_ne!(id, 13, "this mapping does not know it");
            Ok(vec![id])
        })
        .build()
        .expect("a cache");
    let cdc = world.cdc().bind(&picky).spawn().expect("spawned");
    cdc.ready().await.expect("ready");
    world.update(5, 1);
    world.caught_up().await;
    assert_eq!((picky.get(&5).await.expect("a value"), world.read(5).await.0), (Some(1), Some(1)));
    world.update(13, 1);
    world.caught_up().await;
    assert!(picky.peek(&5).await.expect("a peek").is_none(), "it was flushed");
    assert_eq!(world.read(5).await, (Some(1), Tier::Shared));
    world.update(5, 2);
    world.caught_up().await;
    assert_eq!((world.read(5).await.0, cdc.status().state), (Some(2), CdcState::Running));
}

#[tokio::test]
async fn an_invalidator_that_panics_says_so() {
    #[derive(Debug)]
    struct Panics;
    #[async_trait::async_trait]
    impl VisibilityGate for Panics {
        async fn wait(&self, _position: &Position, _timeout: Duration) -> crate::error::Result<bool> {
            panic!("a fault of a gate");
        }
    }
    let world = World::new();
    let cdc = world.cdc().gate(Arc::new(Panics)).spawn().expect("spawned");
    let error = cdc.ready().await.expect_err("it has ended");
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(cdc.status().state, CdcState::Failed);
}
