//! How soon after a commit its keys are consistent.

use super::*;
use crate::inspect::HORIZONS;
use crate::testing::FaultyStore;

#[tokio::test(start_paused = true)]
async fn an_applied_change_is_consistent_from_the_first_check_on() {
    let world = World::new(true).await;
    let inspector = world.inspector(false).await;
    world.fill().await;
    for id in IDS {
        world.table.set(id, 1, None);
    }
    wait_until("all were checked after a second", || async {
        let second = inspector.report().convergence[1];
        second.consistent == 20
    })
    .await;
    let report = inspector.report();
    assert_eq!(report.convergence.map(|one| one.inconsistent), [0; 4], "{:?}", report.misses);
    assert_eq!(report.convergence.map(|one| one.within), HORIZONS);
    assert_eq!(report.convergence[1].ratio(), Some(1.0), "{:?}", report.convergence);
    assert_eq!(report.convergence[3].ratio(), None, "five minutes have not passed");
    // sleep: the time is paused, so it passes at once; the checks of the last horizon are due after it.
    tokio::time::sleep(HORIZONS[3]).await;
    wait_until("all were checked after five minutes", || async { inspector.report().convergence[3].consistent == 20 })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_change_is_inconsistent_and_named() {
    let world = World::new(false).await;
    let inspector = world.inspector(false).await;
    world.fill().await;
    world.faults.hold(true);
    let commit = world.table.set(7, 1, None);
    wait_until("it was checked after a second", || async { inspector.report().convergence[1].inconsistent == 1 }).await;
    let report = inspector.report();
    let last = report.misses.last().expect("a check that found the older value");
    assert_eq!((last.key.as_str(), last.within, &last.cause.gtid), ("row:7", HORIZONS[1], &commit));
    assert_eq!(last.cause.table.as_str(), "shop.row");
    world.faults.hold(false);
    world.applied(&commit).await;
    wait_until("it is consistent after five seconds", || async { inspector.report().convergence[2].consistent == 1 })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_changed_again_counts_once() {
    let world = World::new(false).await;
    let inspector = world.inspector(false).await;
    world.fill().await;
    world.faults.hold(true);
    world.table.set(7, 1, None);
    let newer = world.table.set(7, 2, None);
    wait_until("both were checked after a second", || async {
        let second = inspector.report().convergence[1];
        second.inconsistent + second.superseded == 2
    })
    .await;
    let report = inspector.report();
    assert_eq!((report.convergence[1].inconsistent, report.convergence[1].superseded), (1, 1));
    assert!(report.misses.iter().all(|miss| miss.cause.gtid == newer), "{:?}", report.misses);
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_or_a_gap_the_log_is_followed_again() {
    let world = World::new(false).await;
    let (faults, settings) = (Faults::default(), InspectSettings::default().with_pass_every(Duration::ZERO));
    let source = LayeredSource::around(world.table.log.clone(), faults.clone());
    let inspector = world.builder().settings(settings).follow(source).spawn().expect("an inspector");
    wait_until("the log is followed", || async { inspector.report().followed.is_some() }).await;
    world.fill().await;
    world.table.set(7, 1, None);
    wait_until("its checks are planned", || async { inspector.report().followed == Some(world.table.log.executed()) })
        .await;
    inspector.pause();
    wait_until("the log is left", || async { inspector.report().followed.is_none() }).await;
    assert_eq!(inspector.report().convergence[3].undecided, 1, "the check after five minutes");
    inspector.resume();
    wait_until("the log is followed", || async { inspector.report().followed.is_some() }).await;
    faults.fail();
    wait_until("the failure is reported", || async { inspector.report().last_error.is_some() }).await;
    wait_until("the log is followed again", || async { inspector.report().followed.is_some() }).await;
    let closed = world.table.log.closed();
    inspector.shutdown().await;
    assert_eq!(world.table.log.closed(), closed + 1, "a shutdown closes the source");
}

#[tokio::test(start_paused = true)]
async fn checks_beyond_the_bound_are_counted_and_not_made() {
    let world = World::new(false).await;
    let settings = InspectSettings::default().with_pass_every(Duration::ZERO).with_checks_max(8);
    let inspector = world.builder().settings(settings).follow(world.table.log.clone()).spawn().expect("an inspector");
    wait_until("the log is followed", || async { inspector.report().followed.is_some() }).await;
    for id in IDS {
        world.table.set(id, 1, None);
    }
    wait_until("the log was read", || async { inspector.report().followed == Some(world.table.log.executed()) }).await;
    assert_eq!(inspector.report().unchecked, 18, "two changes have four checks each");
}

/// A table whose rows take long to read.
struct Slow(Table);

impl Loader<u64, u64> for Slow {
    type Error = std::io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> std::io::Result<Option<u64>> {
        pause(Duration::from_millis(30)).await;
        self.0.load(key, cx).await
    }
}

/// All entries are stale 50 ms after their commit, and gone when the most of their checks begin, or end.
#[tokio::test(start_paused = true)]
async fn a_check_that_begins_late_is_not_counted() {
    let world = World::new(false).await;
    let inspector = world.inspector_of(Slow(world.table.clone()), Duration::ZERO).await;
    world.fill().await;
    world.faults.hold(true);
    for id in IDS {
        world.table.set(id, 1, None);
    }
    pause(Duration::from_millis(70)).await;
    world.faults.hold(false);
    wait_until("all were checked", || async {
        let [first, ..] = inspector.report().convergence;
        first.consistent + first.inconsistent + first.undecided == 20
    })
    .await;
    let [first, ..] = inspector.report().convergence;
    assert_eq!((first.consistent, first.inconsistent, first.undecided), (0, 0, 20));
    wait_until("later ones are counted", || async { inspector.report().convergence[1].consistent > 0 }).await;
}

/// A replica that has stopped.
struct Stopped(Position);

impl Loader<u64, u64> for Stopped {
    type Error = std::io::Error;

    async fn load(&self, _key: &u64, cx: &LoadCx) -> std::io::Result<Option<u64>> {
        cx.replica();
        cx.position(self.0.clone());
        Ok(Some(0))
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_of_a_replica_that_lacks_the_change_decides_nothing() {
    let world = World::new(false).await;
    let inspector = world.inspector_of(Stopped(world.table.log.executed()), Duration::ZERO).await;
    world.fill().await;
    world.faults.hold(true);
    world.table.set(7, 1, None);
    wait_until("it was checked after a second", || async {
        let second = inspector.report().convergence[1];
        second.consistent + second.undecided == 1
    })
    .await;
    let [first, second, ..] = inspector.report().convergence;
    assert_eq!([first, second].map(|one| (one.consistent, one.undecided)), [(0, 1); 2]);
}

#[tokio::test(start_paused = true)]
async fn many_suspects_do_not_delay_the_checks() {
    let store = std::cell::OnceCell::new();
    let connect = |memory| store.get_or_init(|| FaultyStore::new(memory)).clone();
    let world = World::over(false, connect).await;
    let inspector = world.inspector(false).await;
    world.fill().await;
    store.get().expect("the store").set_delay(Duration::from_millis(10));
    world.faults.hold(true);
    for id in 1..=15 {
        world.table.set(id, 1, None);
    }
    wait_until("they are suspects", || async { inspector.report().convergence[0].inconsistent > 0 }).await;
    let before = inspector.report().convergence[0];
    for id in 16..=20 {
        world.table.set(id, 1, None);
        pause(Duration::from_millis(67)).await;
    }
    pause(Duration::from_millis(500)).await;
    let after = inspector.report().convergence[0];
    assert_eq!((after.inconsistent - before.inconsistent, after.undecided), (5, before.undecided));
}
