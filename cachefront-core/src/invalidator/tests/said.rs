//! What the status and the log say of an invalidator.

use super::coverage::Shop;
use super::liveness::{Scene, pause};
use super::*;
use crate::testing::Warnings;

#[tokio::test(start_paused = true)]
async fn the_reason_why_a_cache_is_not_covered_outlives_a_session() {
    let shop = Shop::new();
    let (one, other) = (shop.process(), shop.process());
    let caches = |process: &super::coverage::Process<'_>| {
        (process.users().build().expect("a cache"), process.orders().build().expect("a cache"))
    };
    let ((users, orders), (other_users, other_orders)) = (caches(&one), caches(&other));
    let standby = other.run(&[&other_users, &other_orders]).await;
    let holder = one.run(&[&users, &orders]).await;
    let says_why = |cdc: &CdcHandle| {
        let status = cdc.status();
        let reason = status.last_error.map(|error| error.chain()).unwrap_or_default();
        assert!(status.not_covered == ["users"] && reason.contains("`shop.users`"), "{}", cdc.status());
    };
    shop.source.refuse(&["shop.users"]);
    shop.source.commit([Change::Tables { tables: vec!["shop.users".into()], reason: "ALTER TABLE".into() }]);
    shop.applied().await;
    says_why(&holder);
    shop.source.fail(Error::new(ErrorKind::Unavailable, "the connection broke"));
    wait_until("a new session begins", || async { holder.status().state == CdcState::Retrying }).await;
    wait_until("it runs again", || async { holder.status().state == CdcState::Running }).await;
    says_why(&holder);
    holder.shutdown().await;
    wait_until("the other one runs", || async { standby.status().state == CdcState::Running }).await;
    says_why(&standby);
    shop.source.refuse(&[]);
    shop.source.fail(Error::new(ErrorKind::Unavailable, "the connection broke"));
    wait_until("all is covered again", || async { standby.status().last_error.is_none() }).await;
    assert!(standby.status().not_covered.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_standby_says_when_a_holder_of_another_release_works() {
    let messages = Warnings::default();
    // While there is one subscriber only, what another test's thread logs first is off for all threads.
    let _second = tracing::Dispatch::new(Warnings::default());
    let _guard = tracing::subscriber::set_default(messages.clone());
    let shop = Shop::new();
    let (old, older, new) = (shop.process(), shop.process(), shop.process());
    let (old_users, older_users) = (old.users().build().expect("a cache"), older.users().build().expect("a cache"));
    let (users, orders) = (new.users().build().expect("a cache"), new.orders().build().expect("a cache"));
    let standby = older.run(&[&older_users]).await;
    let _holder = old.run(&[&old_users]).await;
    wait_until("the older one stands by", || async { standby.status().state == CdcState::Standby }).await;
    pause(Duration::from_secs(1)).await;
    assert_eq!((messages.count("stands by"), standby.status().last_error.is_some()), (0, false));
    let _wider = new.run(&[&users, &orders]).await;
    wait_until("the standby says so", || async { standby.status().last_error.is_some() }).await;
    pause(Duration::from_secs(60)).await;
    // The former holder says it too.
    assert_eq!(messages.count("this invalidator stands by, and its caches may not be covered"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_primary_that_lacks_commits_is_no_rewind_of_the_store() {
    let world = World::new();
    let cdc = world.run().await;
    (0..3).for_each(|value| world.update(1, value));
    world.caught_up().await;
    world.source.restore(1);
    world.source.become_server("server-b");
    wait_until("everything was flushed", || async { cdc.status().flushes_total == 2 }).await;
    wait_until("it runs again", || async { cdc.status().state == CdcState::Running }).await;
    assert_eq!(cdc.status().rewinds_total, 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_by_another_invalidator_is_no_rewind() {
    let world = World::new();
    let first = world.run().await;
    (0..3).for_each(|value| world.update(1, value));
    world.caught_up().await;
    let applied = world.source.executed();
    wait_until("it has applied all", || async { first.status().applied.covers(&applied) }).await;
    let second = world.run().await;
    wait_until("the first stands by", || async { first.status().state == CdcState::Standby }).await;
    world.source.restore(1);
    world.source.become_server("server-b");
    wait_until("everything was flushed", || async { second.status().flushes_total == 1 }).await;
    wait_until("it runs again", || async { second.status().state == CdcState::Running }).await;
    second.shutdown().await;
    wait_until("the first has taken over", || async { first.status().state == CdcState::Running }).await;
    assert_eq!(first.status().rewinds_total, 0);
}

#[tokio::test(start_paused = true)]
async fn a_standby_says_no_lag() {
    let scene = Scene::new();
    let first = scene.run().await;
    wait_until("a holder knows its lag", || async { first.status().lag().is_some() }).await;
    let _second = scene.run().await;
    wait_until("the first stands by", || async { first.status().state == CdcState::Standby }).await;
    pause(Duration::from_secs(60)).await;
    let status = first.status();
    assert!(status.lag().is_none() && status.to_string().contains("standby, lag unknown"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_at_a_closed_gate_is_no_failure() {
    let messages = Warnings::default();
    let _second = tracing::Dispatch::new(Warnings::default());
    let _guard = tracing::subscriber::set_default(messages.clone());
    let scene = Scene::new();
    scene.source.hide();
    scene.source.commit([row(1)]);
    let cdc = scene.cdc().spawn().expect("spawned");
    pause(Duration::from_secs(5)).await;
    assert!(cdc.status().state == CdcState::Starting && messages.count("not yet visible") > 0, "{:?}", cdc.status());
    cdc.clone().shutdown().await;
    let status = cdc.status();
    assert_eq!((status.state, status.last_error.is_none(), messages.count("failed")), (CdcState::Stopped, true, 0));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_shut_down_at_a_closed_gate_hands_over() {
    let scene = Scene::new();
    let standby = scene.run().await;
    let holder = scene.run().await;
    wait_until("the other one stands by", || async { standby.status().state == CdcState::Standby }).await;
    scene.source.hide();
    scene.source.commit([row(1)]);
    scene.source.fail(Error::new(ErrorKind::Gap, "an event could not be read"));
    pause(Duration::from_secs(5)).await;
    assert_eq!((holder.status().flushes_total, standby.status().state), (0, CdcState::Standby));
    holder.shutdown().await;
    scene.source.reveal();
    let began = tokio::time::Instant::now();
    let mut states = standby.watch();
    states.wait_for(|status| status.state == CdcState::Running).await.expect("it takes over");
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
}
