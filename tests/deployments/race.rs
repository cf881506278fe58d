//! One failover after another under load, with the local tier on: nothing is stale at rest, no token is violated, and most
//! reads are hits.
//!
//! A short form by default; `CACHEFRONT_DEPLOYMENT_SECONDS` says how long the load lasts, `cargo xtask prove --deployments`
//! runs two minutes of each.

use std::time::Duration;

use cachefront_testkit::fleet::{Crowd, Fleet, Pod};
use tokio::time::Instant;

use crate::common::{ACTOR, Run, Sum, code, commits, item, tell};

/// A failover begins this often, or as soon as the former primary is back.
const EVERY: Duration = Duration::from_secs(10);
/// How long the short form lasts: two failovers.
const SHORT: Duration = Duration::from_secs(15);
/// Pause between two commits.
const PACE: Duration = Duration::from_millis(40);

/// Servers that fail over.
pub(crate) trait FailOver {
    /// The share of plain reads that may fail.
    const ERRORS: f64 = 0.0;
    /// The processes and the writer.
    fn run(&mut self) -> &mut Run;
    /// The primary dies, and another server takes its place.
    async fn fail_over(&mut self);
    /// The former primary is back as a replica.
    async fn restore(&mut self);
}

fn time() -> Duration {
    let seconds = std::env::var("CACHEFRONT_DEPLOYMENT_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("CACHEFRONT_DEPLOYMENT_SECONDS is a number of seconds"));
    seconds.map_or(SHORT, Duration::from_secs)
}

/// One process whose reads are judged at every level, and two whose plain reads are counted.
pub(crate) async fn begin(fleet: Fleet) -> Run {
    let writer = fleet.write_paced(PACE);
    let mut run = Run { pods: Vec::new(), writer, fleet, sum: Sum::default() };
    run.start(&[item(), code()]).await;
    for _ in 0..2 {
        let mut setup = run.fleet.setup(&[item(), code()]);
        (setup.quiet, setup.crowd) = (true, 2);
        run.pods.push(Pod::ready(ACTOR, &run.fleet, &setup).await);
    }
    commits(&run.writer, 40).await;
    run
}

/// Adds what every process has said, and what the plain readers saw.
async fn collect(run: &mut Run, crowd: &mut Crowd) {
    for pod in &mut run.pods {
        let report = pod.report().await;
        run.sum.add(&report);
        if report.crowd.reads > 0 {
            crowd.add(&report.crowd);
        }
    }
}

/// Runs the race.
pub(crate) async fn race<T: FailOver>(what: &str, servers: &mut T) {
    let begun = Instant::now();
    let (mut outages, mut crowd) = (Crowd::default(), Crowd::default());
    let (mut failovers, mut slowest) = (0, Duration::ZERO);
    let mut away = Duration::ZERO;
    collect(servers.run(), &mut Crowd::default()).await;
    servers.run().sum = Sum::default();
    while begun.elapsed() < time() {
        let turn = Instant::now();
        servers.fail_over().await;
        slowest = slowest.max(servers.run().recovered().await);
        away = away.max(turn.elapsed());
        collect(servers.run(), &mut outages).await;
        servers.restore().await;
        failovers += 1;
        // sleep: the pace of the failovers.
        tokio::time::sleep_until(turn + EVERY).await;
        collect(servers.run(), &mut crowd).await;
    }
    let lasted = begun.elapsed().as_secs_f64();
    let mut all = crowd;
    all.add(&outages);
    let (ratio, overall) = (100.0 * crowd.hit_ratio(), 100.0 * all.hit_ratio());
    tell(&format!(
        "{what}: {failovers} failovers in {lasted:.0} s; a commit is applied after at most {slowest:?} once there is a primary, \
         and {away:?} after the kill; {} plain reads, {overall:.1} % without a load, {ratio:.1} % while invalidation works; {} \
         errors, the oldest {:?}",
        all.reads,
        all.errors,
        all.oldest()
    ));
    servers.run().rest(what).await;
    servers.run().sum.is_right(what, &["session", "bounded"]);
    // A load fails where the database is away.
    assert!(
        all.errors as f64 <= T::ERRORS * all.reads as f64,
        "{what}: {} of {} plain reads failed",
        all.errors,
        all.reads
    );
    assert!(ratio >= 90.0, "{what}: {ratio:.1} % of the plain reads were hits");
}
