//! Which entries are stale, and why.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::cache::{CacheBuilder, Tier};
use crate::inspect::{Finding, Pass, StaleKind};

fn kinds(pass: &Pass) -> Vec<(&str, StaleKind)> {
    pass.findings.iter().map(|finding: &Finding| (finding.key.as_str(), finding.kind)).collect()
}

#[tokio::test]
async fn entries_that_equal_their_rows_are_no_findings() {
    let world = World::new(true).await;
    let inspector = world.inspector(false).await;
    assert_eq!(inspector.pass().await.expect("a pass").compared, 0);
    world.fill().await;
    let pass = inspector.pass().await.expect("a pass");
    assert_eq!((pass.sampled, pass.compared, kinds(&pass)), (20, 20, vec![]));
    inspector.shutdown().await;
}

#[tokio::test]
async fn a_waiting_change_is_late_and_not_repaired() {
    let world = World::new(false).await;
    let inspector = world.inspector(true).await;
    world.fill().await;
    world.faults.hold(true);
    let commit = world.table.set(7, 1, None);
    wait_until("the change was read", || async {
        inspector.report().followed.is_some_and(|followed| followed.contains(&commit))
    })
    .await;
    let pass = inspector.pass().await.expect("a pass");
    assert_eq!(kinds(&pass), [("row:7", StaleKind::Late)]);
    let [finding] = &pass.findings[..] else { panic!("one finding") };
    assert_eq!(finding.cause.as_ref().map(|cause| &cause.gtid), Some(&commit));
    assert_eq!(finding.values::<u64>(), Some((&Some(0), &Some(1))));
    assert_eq!(inspector.report().repairs, 0);
    world.faults.hold(false);
    world.applied(&commit).await;
    assert_eq!(kinds(&inspector.pass().await.expect("a pass")), []);
}

#[tokio::test]
async fn a_dropped_change_is_lost_and_repaired() {
    for local in [false, true] {
        let world = World::new(local).await;
        world.fill().await;
        let inspector = world.inspector(false).await;
        world.faults.drop_changes(true);
        let commit = world.table.set(7, 1, None);
        world.applied(&commit).await;
        wait_until("the entry is lost", || async {
            let pass = inspector.pass().await.expect("a pass");
            let cause = pass.findings.first().and_then(|finding| finding.cause.clone());
            kinds(&pass) == [("row:7", StaleKind::Lost)] && cause.is_some_and(|cause| cause.gtid == commit)
        })
        .await;
        wait_until("it is reported", || async { !inspector.report().findings.is_empty() }).await;
        assert_eq!(inspector.report().findings.len(), 1, "once");
        assert_eq!(world.cache.get(&7).await.expect("a value"), Some(0), "it is only reported");
        inspector.shutdown().await;

        let inspector = world.inspector(true).await;
        wait_until("it is repaired", || async {
            let pass = inspector.pass().await.expect("a pass");
            pass.findings.iter().any(|finding| finding.repaired)
        })
        .await;
        assert_eq!(world.cache.get(&7).await.expect("a value"), Some(1));
        assert_eq!(inspector.report().repairs, 1);
    }
}

#[tokio::test]
async fn a_wrong_mapping_is_found() {
    let world = World::new(false).await;
    let inspector = world.inspector(false).await;
    world.fill().await;
    // The change of row 7 names row 8.
    let commit = world.table.set(7, 1, Some(8));
    world.applied(&commit).await;
    wait_until("the mapping is wrong", || async {
        kinds(&inspector.pass().await.expect("a pass")) == [("row:7", StaleKind::Mapping)]
    })
    .await;
}

#[tokio::test]
async fn without_a_log_an_entry_is_lost_once_everything_was_applied() {
    let world = World::new(false).await;
    let inspector = world.builder().spawn().expect("an inspector");
    world.fill().await;
    world.faults.hold(true);
    world.faults.drop_changes(true);
    let commit = world.table.set(7, 1, None);
    assert_eq!(kinds(&inspector.pass().await.expect("a pass")), [("row:7", StaleKind::Late)]);
    world.faults.hold(false);
    world.applied(&commit).await;
    wait_until("the entry is lost", || async {
        kinds(&inspector.pass().await.expect("a pass")) == [("row:7", StaleKind::Lost)]
    })
    .await;
}

#[tokio::test]
async fn in_ttl_mode_an_entry_ages() {
    let world = World::new(false).await;
    world.cache.set_mode(crate::InvalidationMode::Ttl);
    let inspector = world.inspector(true).await;
    world.fill().await;
    world.table.set(7, 1, None);
    assert_eq!(kinds(&inspector.pass().await.expect("a pass")), [("row:7", StaleKind::Aging)]);
    assert_eq!(inspector.report().repairs, 0);
}

/// A row that leaves the sample is checked as long as its entry was cached at the pass before.
#[tokio::test]
async fn what_was_cached_is_checked_again() {
    let world = World::new(false).await;
    world.fill().await;
    let next = Arc::new(AtomicU64::new(1));
    let watch = Watch::new(&world.cache).sample(move |_| {
        let id = next.fetch_add(1, Ordering::Relaxed);
        async move { Ok(vec![id]) }
    });
    let inspector =
        Inspector::builder().watch(watch).settings(InspectSettings::default().with_pass_every(Duration::ZERO));
    let inspector = inspector.spawn().expect("an inspector");
    for compared in 1..=3 {
        assert_eq!(inspector.pass().await.expect("a pass").compared, compared);
    }
}

/// Between peek and row the entry is invalidated and filled again: the older entry differs, and is no longer there.
#[tokio::test]
async fn an_entry_that_is_replaced_meanwhile_is_compared_again() {
    let world = World::new(false).await;
    world.fill().await;
    let (table, cache, loads) = (world.table.clone(), world.cache.clone(), AtomicU64::new(0));
    let load = move |id: u64| {
        let (table, cache, load) = (table.clone(), cache.clone(), loads.fetch_add(1, Ordering::SeqCst));
        async move {
            match load {
                // The first look, at many keys: the row seems to differ.
                0 => return Ok::<_, std::io::Error>(Some(1)),
                1 => {
                    table.set(id, 9, None);
                    wait_until("the new value is cached", || async {
                        cache.get(&id).await.is_ok_and(|now| now == Some(9))
                    })
                    .await;
                }
                _ => {}
            }
            table.load(&id, &LoadCx::new(crate::Timestamp::UNKNOWN)).await
        }
    };
    let watch = Watch::new(&world.cache).loader(crate::loader_fn(load)).sample(|_| async { Ok(vec![7]) });
    let settings = InspectSettings::default().with_pass_every(Duration::ZERO);
    let inspector = Inspector::builder().watch(watch).settings(settings).spawn().expect("an inspector");
    assert_eq!(kinds(&inspector.pass().await.expect("a pass")), []);
}

/// The row of a tag names no key: an entry that contains every change of its own key is stale because of the tag.
#[tokio::test]
async fn an_invalidation_of_a_tag_that_is_late_is_no_wrong_mapping() {
    a_tag_that_is_late_is_late(None).await;
}

/// Of a value in the process-local tier it is not known what its load contained.
#[tokio::test]
async fn an_invalidation_of_a_tag_that_is_late_is_no_loss() {
    a_tag_that_is_late_is_late(Some(Local::max_weight(1 << 20))).await;
}

async fn a_tag_that_is_late_is_late(local: Option<Local>) {
    let log = ScriptedSource::new("server-a");
    let table = Table { rows: Arc::default(), log: log.clone() };
    table.set(7, 0, None);
    let clock = Arc::new(TokioClock::new());
    let cache: CacheBuilder<u64, u64> = Cache::builder("row")
        .clock(Arc::<TokioClock>::clone(&clock))
        .shared(MemoryStore::new("t").with_clock(Arc::<TokioClock>::clone(&clock)))
        .loader(table.clone())
        .tags_of(|id| vec![format!("list:{id}")])
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .depends_on_tags("shop.product", &["list"], |row| Ok(vec![format!("list:{}", row.get::<u64>("list")?)]));
    let cache = local.into_iter().fold(cache, |cache, local| cache.local(local)).build().expect("a cache");
    let faults = Faults::default();
    let source = LayeredSource::around(log.clone(), faults.clone());
    let cdc = Cdc::new(source).bind(&cache).clock(Arc::<TokioClock>::clone(&clock)).spawn().expect("an invalidator");
    cdc.ready().await.expect("ready");
    let watch = Watch::new(&cache).sample(|_| async { Ok(vec![7]) });
    let settings = InspectSettings::default().with_pass_every(Duration::ZERO).with_grace(Duration::from_millis(20));
    let inspector = Inspector::builder().watch(watch).settings(settings).clock(Arc::<TokioClock>::clone(&clock));
    let inspector = inspector.follow(log.clone()).spawn().expect("an inspector");
    wait_until("the log is followed", || async { inspector.report().followed.is_some() }).await;
    let own = table.set(7, 1, None);
    let mut position = Position::new();
    position.insert(&own);
    wait_until("the own change is applied", || async { cdc.status().applied.covers(&position) }).await;
    let tier = if local.is_some() { Tier::Local } else { Tier::Shared };
    wait_until("it is cached", || async { cache.get(&7).detailed().await.expect("a value").tier == tier }).await;
    faults.hold(true);
    let image = RowImage::from_pairs([("list", Value::UInt(7))]);
    let (table_name, operation) = ("shop.product".into(), Operation::Insert);
    table.rows.lock().expect("unpoisoned").insert(7, 2);
    let tag = log.commit([Change::Row(RowChange { table: table_name, operation, before: None, after: Some(image) })]);
    wait_until("the change was read", || async {
        inspector.report().followed.is_some_and(|followed| followed.contains(&tag))
    })
    .await;
    assert_eq!(kinds(&inspector.pass().await.expect("a pass")), [("row:7", StaleKind::Late)]);
    faults.hold(false);
    position.insert(&tag);
    wait_until("the tag is invalidated", || async { cdc.status().applied.covers(&position) }).await;
    assert_eq!(kinds(&inspector.pass().await.expect("a pass")), []);
}

/// Writers, readers and passes at the same time: no entry is called lost or wrongly mapped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_raises_no_false_alarm() {
    let world = Arc::new(World::new(true).await);
    let inspector = world.inspector(true).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for worker in 0..4_u64 {
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                let id = (worker * 5 + round) % 20 + 1;
                if round % 3 == 0 {
                    // Values come back, so that an older one can equal a newer one.
                    world.table.set(id, round % 5, None);
                }
                world.cache.get(&id).await.expect("a value");
                tokio::task::yield_now().await;
            }
        }));
    }
    for _ in 0..40 {
        let pass = inspector.pass().await.expect("a pass");
        assert!(pass.findings.iter().all(|finding| finding.kind == StaleKind::Late), "{:?}", pass.findings);
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a worker");
    }
    let report = inspector.report();
    assert_eq!((report.repairs, report.findings.len()), (0, 0), "{:?}", report.findings);
    wait_until("all is consistent", || async { inspector.pass().await.expect("a pass").findings.is_empty() }).await;
}
