//! Loaders read a replica that lags: with a fence, or with a gate that waits on it, nothing old is kept; the hit ratio is
//! measured.

use std::time::Duration;

use cachefront_testkit::address::Address;
use cachefront_testkit::fleet::{Crowd, Fleet, Guard, Pod, ReplicaSpec, Writer};
use cachefront_testkit::server::MySql;
use cachefront_testkit::server::mysql::{ADMIN, ADMIN_PASSWORD};
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::{stack, wait};
use mysql_async::prelude::Queryable;

use crate::common::{ACTOR, Sum, at_rest, commits, item, tell};

/// Pause between two commits: each of the eight rows changes every eight seconds.
const PACE: Duration = Duration::from_secs(1);
/// How long the load of one measurement runs.
const RUN: Duration = Duration::from_secs(12);

/// How a replica comes to lag.
#[derive(Clone, Copy, Debug)]
enum Lag {
    /// What it gets arrives late.
    Line(Duration),
    /// It waits before it applies, `SOURCE_DELAY`.
    Delay(u32),
}

/// A primary and a replica that lags behind it.
struct Lagging {
    fleet: Fleet,
    writer: Writer,
    replica: MySql,
    _primary: MySql,
    _line: Option<Address>,
}

impl Lagging {
    async fn start(lag: Lag) -> Self {
        let (primary, replica) = tokio::join!(MySql::start(&[]), MySql::start(&["--server-id=2"]));
        for server in [&primary, &replica] {
            server.execute("RESET BINARY LOGS AND GTIDS").await;
        }
        let (line, delay) = match lag {
            Lag::Line(time) => (Some(Address::delayed(primary.port(), time).await), 0),
            Lag::Delay(seconds) => (None, seconds),
        };
        let port = line.as_ref().map_or_else(|| primary.port(), Address::port);
        for sql in [
            &*format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = '{ADMIN}', \
                 SOURCE_PASSWORD = '{ADMIN_PASSWORD}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, \
                 SOURCE_CONNECT_RETRY = 1, SOURCE_DELAY = {delay}"
            ),
            "START REPLICA",
            "SET GLOBAL super_read_only = ON",
        ] {
            replica.execute(sql).await;
        }
        let fleet = Fleet::open_on(&primary.url(), &stack::redis_url()).await;
        let seen = format!("SELECT COUNT(*) FROM {}.item", fleet.database.name());
        wait::until_async("the replica has the table", PATIENCE, async || {
            let rows: Result<Option<u64>, _> = replica.connect().await.query_first(&seen).await;
            rows.is_ok_and(|rows| rows == Some(cachefront_testkit::fleet::ROWS))
        })
        .await;
        let writer = fleet.write_paced(PACE);
        Self { fleet, writer, replica, _primary: primary, _line: line }
    }

    /// Two processes whose loaders read the replica, and what they see in a while.
    async fn measure(&mut self, guard: Guard, fence_wait: Duration, quiet: bool) -> (Crowd, Sum, Vec<Pod>) {
        self.fleet.namespace = cachefront_testkit::unique::namespace();
        let mut setup = self.fleet.setup(&[item()]);
        let millis = |time: Duration| u64::try_from(time.as_millis()).expect("a short time");
        (setup.quiet, setup.crowd) = (quiet, 8);
        setup.replica = Some(ReplicaSpec {
            url: self.replica.url_of_database(self.fleet.database.name()),
            guard,
            fence_wait_ms: millis(fence_wait),
            lease_ms: millis(fence_wait) + 2_000,
        });
        let mut pods = Vec::new();
        for _ in 0..2 {
            pods.push(Pod::ready(ACTOR, &self.fleet, &setup).await);
        }
        let (crowd, sum) = self.watch(&mut pods).await;
        (crowd, sum, pods)
    }

    /// What processes see in a while.
    async fn watch(&self, pods: &mut [Pod]) -> (Crowd, Sum) {
        commits(&self.writer, 2).await;
        let (mut crowd, mut sum) = (Crowd::default(), Sum::default());
        for pod in &mut *pods {
            pod.report().await;
        }
        // sleep: the load runs for this time.
        tokio::time::sleep(RUN).await;
        for pod in pods {
            let report = pod.report().await;
            crowd.add(&report.crowd);
            sum.add(&report);
        }
        (crowd, sum)
    }
}

/// Prints a row of the table; returns the hit ratio.
fn row(lag: &str, guard: &str, wait: Duration, crowd: &Crowd) -> f64 {
    let ratio = crowd.hit_ratio();
    tell(&format!(
        "| {lag} | {guard} | {wait:?} | {:.1} % | {} | {} | {:.1?} |",
        ratio * 100.0,
        crowd.reads,
        crowd.loads,
        crowd.oldest()
    ));
    ratio
}

fn head() {
    tell("| replica behind by | guard | `fence_wait` | reads without a load | reads | loads | oldest plain read |");
    tell("|---|---|---|---|---|---|---|");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_a_tenth_of_a_second_behind_fills_a_fenced_cache() {
    let mut lagging = Lagging::start(Lag::Line(Duration::from_millis(100))).await;
    head();
    let wait = Duration::from_millis(500);
    let (crowd, sum, mut pods) = lagging.measure(Guard::Fence, wait, false).await;
    let fenced = row("0.1 s", "fence", wait, &crowd);
    sum.is_right("a fenced cache", &["session", "eventual"]);
    let rest = at_rest(&lagging.fleet, &lagging.writer, &mut pods).await;
    assert!(rest.stale.is_empty() && rest.fresh > 0, "{rest:?}");
    drop(pods);
    let (crowd, _, pods) = lagging.measure(Guard::Gate, wait, true).await;
    let gated = row("0.1 s", "gate", wait, &crowd);
    drop(pods);
    assert!(fenced > 0.9 && gated > 0.9, "{fenced} {gated}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_three_seconds_behind_fills_if_its_fence_is_waited_for() {
    let mut lagging = Lagging::start(Lag::Delay(3)).await;
    head();
    for (guard, name, wait) in [
        (Guard::Fence, "fence", Duration::from_millis(500)),
        (Guard::Fence, "fence", Duration::from_secs(4)),
        (Guard::Gate, "gate", Duration::from_millis(500)),
    ] {
        let (crowd, _, mut pods) = lagging.measure(guard, wait, true).await;
        row("3 s", name, wait, &crowd);
        let rest = stale(&lagging, &mut pods).await;
        assert_eq!(rest, 0, "{name}");
    }
    // Without either the old row is loaded after its invalidation, and stays.
    let (crowd, _, mut pods) = lagging.measure(Guard::Nothing, Duration::from_millis(500), true).await;
    row("3 s", "none", Duration::ZERO, &crowd);
    let rest = stale(&lagging, &mut pods).await;
    assert!(rest > 0, "the replica's old rows were never kept: the test proves nothing");
}

/// The log of a replica is followed, and loaders read the primary: session and plain reads are hits and right, a bound is
/// proven by a load only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_replica_serves_loaders_on_the_primary() {
    let mut lagging = Lagging::start(Lag::Line(Duration::from_millis(100))).await;
    lagging.fleet.log_url = Some(lagging.replica.url());
    let mut setup = lagging.fleet.setup(&[item()]);
    (setup.log_of_replica, setup.crowd) = (true, 4);
    let mut pods = Vec::new();
    for _ in 0..2 {
        pods.push(Pod::ready(ACTOR, &lagging.fleet, &setup).await);
    }
    let (crowd, sum) = lagging.watch(&mut pods).await;
    tell(&format!("a replica's log: the oldest plain read {:?}, {} errors", crowd.oldest(), crowd.errors));
    sum.is_right("a replica's log, loaders on the primary", &["session", "eventual"]);
    let bounded = sum.at("bounded");
    assert!(bounded.wrong == 0 && bounded.reads > bounded.hits, "bounds are proven by loads: {bounded}");
    let rest = at_rest(&lagging.fleet, &lagging.writer, &mut pods).await;
    assert!(rest.stale.is_empty() && rest.fresh > 0, "{rest:?}");
}

/// The number of entries that differ from their rows while nothing is written and everything is applied everywhere.
async fn stale(lagging: &Lagging, pods: &mut [Pod]) -> usize {
    let _paused = lagging.writer.pause().await;
    let executed = lagging.fleet.executed().await;
    let mut conn = lagging.replica.connect().await;
    let late: Option<u64> =
        conn.exec_first("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 60)", (executed.to_string(),)).await.expect("a reply");
    assert_eq!(late, Some(0), "the replica is in step");
    let mut stale = 0;
    for pod in pods {
        // A gate that waits for the replica opens a moment after it is in step.
        let mut rest = pod.rest().await;
        for _ in 0..100 {
            if rest.stale.is_empty() {
                break;
            }
            // sleep: the poll interval of a bounded wait.
            tokio::time::sleep(Duration::from_millis(30)).await;
            rest = pod.rest().await;
        }
        stale += rest.stale.len();
    }
    stale
}
