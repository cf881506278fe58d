//! Two releases side by side on the same servers, under continuous writes.

use cachefront_tests::fleet::{CacheSpec, Fleet, Pod, Writer};

use crate::common::{ACTOR, PHASE, Sum, at_rest, code, commits, item, tell, twin};

/// Processes that come and go, and the sum of their answers.
struct Rolling {
    fleet: Fleet,
    writer: Writer,
    pods: Vec<Pod>,
    sum: Sum,
}

impl Rolling {
    async fn begin() -> Self {
        let fleet = Fleet::open().await;
        let writer = fleet.write();
        Self { fleet, writer, pods: Vec::new(), sum: Sum::default() }
    }

    async fn start(&mut self, release: &[CacheSpec]) {
        let setup = self.fleet.setup(release);
        self.pods.push(Pod::ready(ACTOR, &self.fleet, &setup).await);
        commits(&self.writer, PHASE).await;
    }

    /// The oldest process that is left ends.
    async fn stop_oldest(&mut self) {
        let mut pod = self.pods.remove(0);
        self.sum.add(&pod.report().await);
        pod.stop().await;
        commits(&self.writer, PHASE).await;
    }

    async fn kill_oldest(&mut self) {
        let mut pod = self.pods.remove(0);
        self.sum.add(&pod.report().await);
        pod.kill().await;
        commits(&self.writer, PHASE).await;
    }

    async fn end(mut self, what: &str) {
        let rest = at_rest(&self.fleet, &self.writer, &mut self.pods).await;
        for pod in &mut self.pods {
            self.sum.add(&pod.report().await);
        }
        tell(&format!(
            "{what}: {} commits; at rest {} fresh, {} stale",
            self.writer.commits(),
            rest.fresh,
            rest.stale.len()
        ));
        self.sum.is_right(what, &["session", "bounded", "eventual"]);
        assert!(rest.stale.is_empty(), "{:?}", rest.stale);
    }
}

/// Two processes of each release, one after the other, up and back.
async fn up_and_back(what: &str, old: &[CacheSpec], new: &[CacheSpec]) {
    let mut rolling = Rolling::begin().await;
    for release in [old, old, new] {
        rolling.start(release).await;
    }
    rolling.stop_oldest().await;
    rolling.start(new).await;
    rolling.stop_oldest().await;
    // Two new ones are left. And back:
    rolling.start(old).await;
    rolling.stop_oldest().await;
    rolling.start(old).await;
    rolling.stop_oldest().await;
    rolling.end(what).await;
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
async fn an_old_process_that_starts_after_the_new_release_harms_nobody() {
    let (old, new) = ([item()], [item(), code(), twin()]);
    let mut rolling = Rolling::begin().await;
    rolling.start(&new).await;
    rolling.start(&old).await;
    assert_eq!(rolling.pods[1].report().await.state, "Standby", "it would cover less");
    let covered = rolling.pods[0].report().await;
    assert_eq!(covered.state, "Running");
    rolling.sum.add(&covered);
    // The new one falls silent: only the old one is left, and works.
    rolling.kill_oldest().await;
    rolling.pods[0].is("Running").await;
    // The new release reads beside it: what the old one does not know is not cached.
    rolling.start(&new).await;
    rolling.pods[1].is("Running").await;
    commits(&rolling.writer, PHASE).await;
    let wider = rolling.pods[1].report().await;
    for cache in ["item", "code", "twin"] {
        assert!(wider.of(cache).hits > 0, "`{cache}` is cached again");
    }
    rolling.sum.add(&wider);
    rolling.stop_oldest().await;
    rolling.stop_oldest().await;
    rolling.start(&new).await;
    rolling.end("an old process after the new release").await;
}
