//! Processes of several releases, and the sum of what they say.

use std::time::Duration;

use cachefront_testkit::fleet::{CacheSpec, Count, Fleet, LEVELS, Pod, Report, Rest, Writer, now};
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::wait;

/// The program of which a process is made.
pub(crate) const ACTOR: &str = env!("CARGO_BIN_EXE_actor");

/// Commits of one phase of a test: about a second and a half.
pub(crate) const PHASE: u64 = 120;

/// A cache by id.
pub(crate) fn item() -> CacheSpec {
    CacheSpec::new("item", &["id"])
}

/// A cache by code.
pub(crate) fn code() -> CacheSpec {
    CacheSpec::new("code", &["code"])
}

/// Another cache by id.
pub(crate) fn twin() -> CacheSpec {
    CacheSpec::new("twin", &["id", "value"])
}

/// Prints what was measured.
#[expect(clippy::print_stdout, reason = "a test shows its figures on standard output")]
pub(crate) fn tell(line: &str) {
    println!("{line}");
}

/// The sum of all reports of a test.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    counts: [Count; 3],
}

impl Sum {
    /// Adds what a process has said.
    pub(crate) fn add(&mut self, report: &Report) {
        for (sum, level) in self.counts.iter_mut().zip(LEVELS) {
            sum.add(&report.at(level));
        }
    }

    /// The count at one level.
    pub(crate) fn at(&self, level: &str) -> &Count {
        let at = LEVELS.iter().position(|known| *known == level).expect("a known level");
        &self.counts[at]
    }

    /// Prints the counts, and demands that at these levels the cache served reads and none was wrong.
    pub(crate) fn is_right(&self, what: &str, levels: &[&str]) {
        for level in LEVELS {
            let count = self.at(level);
            tell(&format!("{what}: {level}: {count}"));
            if let Some(wrong) = count.examples.iter().find(|example| count.wrong > 0 && example.starts_with("wrong")) {
                tell(&format!("{what}: {wrong}"));
            }
        }
        for level in levels {
            let count = self.at(level);
            assert_eq!(count.wrong, 0, "{what}, {level}: {:#?}", count.examples);
            assert!(count.hits > 0, "{what}, {level}: nothing was served from a cache, the test proves nothing");
        }
    }
}

/// Waits until an invalidator says that too few replicas confirm.
pub(crate) async fn replicas_are_missing(pods: &mut [Pod]) {
    wait::until_async("an invalidator says that replicas are missing", PATIENCE, async || {
        for pod in &mut *pods {
            if pod.status().await.error.is_some_and(|error| error.contains("`wait_replicas`")) {
                return true;
            }
        }
        false
    })
    .await;
}

/// Waits until `count` more commits were made.
pub(crate) async fn commits(writer: &Writer, count: u64) {
    let goal = writer.commits() + count;
    wait::until("the writer goes on", PATIENCE, || writer.commits() >= goal).await;
}

/// What is cached while there are no writes and all is applied.
pub(crate) async fn at_rest(fleet: &Fleet, writer: &Writer, pods: &mut [Pod]) -> Rest {
    let _paused = writer.pause().await;
    fleet.settle().await;
    let mut sum = Rest::default();
    for pod in pods {
        // The bus may be a moment behind the store: what stays is stale.
        let mut rest = pod.rest().await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
        while !rest.stale.is_empty() && tokio::time::Instant::now() < deadline {
            rest = pod.rest().await;
        }
        sum.fresh += rest.fresh;
        sum.absent += rest.absent;
        sum.stale.extend(rest.stale);
    }
    sum
}

/// Processes that come and go, the writer that goes on meanwhile, and the sum of the processes' reads.
pub(crate) struct Run {
    pub(crate) pods: Vec<Pod>,
    pub(crate) writer: Writer,
    pub(crate) fleet: Fleet,
    pub(crate) sum: Sum,
}

impl Run {
    pub(crate) fn begin(fleet: Fleet) -> Self {
        Self { pods: Vec::new(), writer: fleet.write(), fleet, sum: Sum::default() }
    }

    /// Starts one process more.
    pub(crate) async fn start(&mut self, release: &[CacheSpec]) {
        let setup = self.fleet.setup(release);
        self.pods.push(Pod::ready(ACTOR, &self.fleet, &setup).await);
    }

    pub(crate) async fn commits(&self, count: u64) {
        commits(&self.writer, count).await;
    }

    /// Adds what every process has said.
    pub(crate) async fn report(&mut self) {
        for pod in &mut self.pods {
            self.sum.add(&pod.report().await);
        }
    }

    /// Waits until a commit that was made after now is applied, to the servers behind the addresses as they are now;
    /// returns how long that took.
    pub(crate) async fn recovered(&self) -> Duration {
        let begun = now();
        self.commits(1).await;
        self.fleet.settle().await;
        Duration::from_micros(now() - begun)
    }

    /// Adds what every process has said, and demands that nothing is stale at rest.
    pub(crate) async fn rest(&mut self, what: &str) {
        self.report().await;
        let rest = at_rest(&self.fleet, &self.writer, &mut self.pods).await;
        tell(&format!(
            "{what}: {} commits; at rest {} fresh, {} stale",
            self.writer.commits(),
            rest.fresh,
            rest.stale.len()
        ));
        assert!(rest.stale.is_empty(), "{:?}", rest.stale);
    }

    /// After a recovery plain reads are right too: begins a new sum.
    pub(crate) async fn is_right_from_now_on(&mut self, what: &str) {
        self.sum = Sum::default();
        self.commits(PHASE).await;
        self.report().await;
        self.sum.is_right(what, &["session", "bounded", "eventual"]);
    }
}
