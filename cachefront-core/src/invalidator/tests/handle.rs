//! The handle and its clones.

use super::*;

#[tokio::test]
async fn the_invalidator_stops_with_the_last_clone_of_its_handle() {
    let world = World::new();
    let cdc = world.run().await;
    let (clone, statuses) = (cdc.clone(), cdc.watch());
    drop(cdc);
    world.update(1, 11);
    world.caught_up().await;
    assert_eq!(clone.status().state, CdcState::Running);
    drop(clone);
    wait_until("it has stopped", || async { statuses.borrow().state == CdcState::Stopped }).await;
    // It has left, so the next one need not wait for its silence.
    world.run().await.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_of_one_clone_ends_the_invalidator_for_all() {
    let world = World::new();
    let cdc = world.run().await;
    let (health, other) = (cdc.clone(), cdc.clone());
    tokio::join!(cdc.shutdown(), other.shutdown());
    assert_eq!(health.status().state, CdcState::Stopped);
    assert_eq!(health.ready().await.expect_err("it has ended").kind(), ErrorKind::Closed);
    health.shutdown().await;
}

#[tokio::test]
async fn an_invalidator_that_was_aborted_is_stopped() {
    let world = World::new();
    let cdc = world.run().await;
    cdc.kill();
    wait_until("it has stopped", || async { cdc.status().state == CdcState::Stopped }).await;
    assert_eq!(cdc.ready().await.expect_err("it has ended").kind(), ErrorKind::Closed);
}

#[test]
fn an_invalidator_whose_runtime_has_ended_is_stopped() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (first, second) = (runtime(), runtime());
    let world = first.block_on(async { World::new() });
    let cdc = first.block_on(world.run());
    drop(first);
    assert_eq!(cdc.status().state, CdcState::Stopped);
    assert_eq!(second.block_on(cdc.ready()).expect_err("it has ended").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_lag_is_known_after_a_heartbeat() {
    let world = World::new();
    let cdc = world.run().await;
    wait_until("a heartbeat", || async { cdc.status().lag().is_some() }).await;
    let status = cdc.status();
    assert!(status.lag().expect("it is known") < Duration::from_secs(60));
    assert_eq!(status.lag_at(status.source_time), Some(Duration::ZERO));
}
