//! Two releases side by side on the same servers, under continuous writes.

use cachefront_testkit::fleet::{CacheSpec, Fleet};

use crate::common::{PHASE, Run, code, item, twin};

/// Starts one process more, and lets a phase of commits pass.
async fn start(run: &mut Run, release: &[CacheSpec]) {
    run.start(release).await;
    run.commits(PHASE).await;
}

/// The oldest process that is left ends.
async fn stop_oldest(run: &mut Run) {
    let mut pod = run.pods.remove(0);
    run.sum.add(&pod.report().await);
    pod.stop().await;
    run.commits(PHASE).await;
}

async fn kill_oldest(run: &mut Run) {
    let mut pod = run.pods.remove(0);
    run.sum.add(&pod.report().await);
    pod.kill().await;
    run.commits(PHASE).await;
}

async fn end(mut run: Run, what: &str) {
    run.rest(what).await;
    run.report().await;
    run.sum.is_right(what, &["session", "bounded", "eventual"]);
}

/// Two processes of each release, one after the other, up and back.
async fn up_and_back(what: &str, old: &[CacheSpec], new: &[CacheSpec]) {
    let mut run = Run::begin(Fleet::open().await);
    for release in [old, old, new] {
        start(&mut run, release).await;
    }
    stop_oldest(&mut run).await;
    start(&mut run, new).await;
    stop_oldest(&mut run).await;
    // Two new ones are left. And back:
    start(&mut run, old).await;
    stop_oldest(&mut run).await;
    start(&mut run, old).await;
    stop_oldest(&mut run).await;
    end(run, what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_with_two_more_caches_rolls_up_and_back() {
    up_and_back("two more caches", &[item()], &[item(), code(), twin()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_with_another_mapping_rolls_up_and_back() {
    let new = CacheSpec::new("item", &["id", "value"]).version(2);
    up_and_back("another mapping", &[item(), twin()], &[new, twin()]).await;
}

/// A process of the old release starts after the new one; it stands by, and what it does not know stays right. Then all
/// end and only the new release comes back: it heals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_process_that_starts_after_the_new_release_does_no_harm() {
    let (old, new) = ([item()], [item(), code(), twin()]);
    let mut run = Run::begin(Fleet::open().await);
    start(&mut run, &new).await;
    start(&mut run, &old).await;
    assert_eq!(run.pods[1].report().await.state, "Standby", "it would cover less");
    let covered = run.pods[0].report().await;
    assert_eq!(covered.state, "Running");
    run.sum.add(&covered);
    // The new one falls silent: only the old one is left, and works.
    kill_oldest(&mut run).await;
    run.pods[0].is("Running").await;
    // The new release reads at the same time: what the old one does not know is not cached.
    start(&mut run, &new).await;
    run.pods[1].is("Running").await;
    run.commits(PHASE).await;
    let wider = run.pods[1].report().await;
    for cache in ["item", "code", "twin"] {
        assert!(wider.of(cache).hits > 0, "`{cache}` is cached again");
    }
    run.sum.add(&wider);
    stop_oldest(&mut run).await;
    stop_oldest(&mut run).await;
    start(&mut run, &new).await;
    end(run, "an old process after the new release").await;
}
