//! Processes of several releases, and the sum of what they say.

use std::time::Duration;

use cachefront_tests::fleet::{CacheSpec, Count, Fleet, LEVELS, Pod, Report, Rest, Writer};
use cachefront_tests::shop::PATIENCE;
use cachefront_tests::wait;

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

    /// Prints the counts, and demands that at these levels there were answers from the cache and none was wrong.
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
