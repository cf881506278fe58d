//! How soon after a commit its keys are consistent.

use super::*;
use crate::inspect::HORIZONS;

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
