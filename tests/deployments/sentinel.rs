//! Redis Sentinel fails over, under load, with the local tier on in several processes.

use std::time::Duration;

use cachefront_testkit::fleet::{Fleet, now};
use cachefront_testkit::server::SentinelGroup;
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::{stack, wait};

use crate::common::{PHASE, Run, code, item, replicas_are_missing, tell};
use crate::race::{self, FailOver, race};

/// A key that shows whether a write was lost.
const MARK: &str = "mark";

/// A group of servers, and processes that find the primary through its Sentinels.
pub(crate) struct Group {
    run: Run,
    group: SentinelGroup,
    /// The server that was killed last, and the one that was elected then.
    killed: usize,
    elected: usize,
}

impl FailOver for Group {
    fn run(&mut self) -> &mut Run {
        &mut self.run
    }

    async fn fail_over(&mut self) {
        self.killed = self.elected;
        self.group.servers[self.killed].kill();
        self.elected = self.elected(self.killed).await.0;
    }

    async fn restore(&mut self) {
        self.group.servers[self.killed].restart().await;
        self.in_step(self.killed).await;
    }
}

/// The primary is killed every ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_under_failovers_by_sentinel() {
    let group = SentinelGroup::start(1, &[], &[]).await.complete().await;
    let run = race::begin(Fleet::open_on(&stack::mysql_url(), &group.url()).await).await;
    race("race, Sentinel", &mut Group::new(run, group)).await;
}

impl Group {
    pub(crate) fn new(run: Run, group: SentinelGroup) -> Self {
        Self { run, group, killed: 0, elected: 0 }
    }

    async fn start(processes: usize, replicas: usize, wait_replicas: usize) -> Self {
        let group = SentinelGroup::start(replicas, &[], &[]).await.complete().await;
        let mut fleet = Fleet::open_on(&stack::mysql_url(), &group.url()).await;
        fleet.wait_replicas = wait_replicas;
        let mut run = Run::begin(fleet);
        for _ in 0..processes {
            run.start(&[item(), code()]).await;
        }
        run.commits(PHASE).await;
        Self::new(run, group)
    }

    /// Waits until all Sentinels name another primary than `former`; returns its index and how long that took.
    async fn elected(&self, former: usize) -> (usize, Duration) {
        let begun = now();
        let primary = wait::until_some("another primary is elected", PATIENCE, async || {
            self.group.primary().await.filter(|primary| *primary != former)
        })
        .await;
        (primary, Duration::from_micros(now() - begun))
    }

    async fn in_step(&self, replica: usize) {
        wait::until_async("the former primary is a replica in step", PATIENCE, async || {
            let info = self.group.servers[replica].command("INFO replication").await.unwrap_or_default();
            info.contains("role:slave") && info.contains("master_link_status:up")
        })
        .await;
    }

    /// Sums up all reports; returns the number of rewinds.
    async fn rewinds(&mut self) -> u64 {
        let mut rewinds = 0;
        for pod in &mut self.run.pods {
            let report = pod.report().await;
            rewinds += report.rewinds;
            self.run.sum.add(&report);
        }
        rewinds
    }
}

/// Both servers stay alive; Sentinel ends the clients' connections to the former primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_by_sentinel_costs_no_wrong_answer() {
    let mut group = Group::start(2, 1, 0).await;
    let mut primary = 0;
    for turn in ["there", "back"] {
        group.run.report().await;
        // Sentinel refuses a failover shortly after another one.
        wait::until_async("Sentinel begins a failover", PATIENCE, async || {
            let line = format!("SENTINEL FAILOVER {}", SentinelGroup::NAME);
            group.group.sentinels[0].command(&line).await.is_ok_and(|reply| reply.starts_with("+OK"))
        })
        .await;
        let (elected, took) = group.elected(primary).await;
        let recovered = group.run.recovered().await;
        tell(&format!("planned by Sentinel, {turn}: elected after {took:?}, invalidation goes on {recovered:?} later"));
        group.in_step(primary).await;
        primary = elected;
        group.run.commits(PHASE).await;
    }
    group.run.rest("planned by Sentinel").await;
    group.run.sum.is_right("planned failover by Sentinel", &["session", "bounded"]);
}

/// The primary is killed after its replica has lost the connection to it: the replica takes its place with what it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_with_lost_writes_is_replaced_by_sentinel() {
    let mut group = Group::start(3, 1, 0).await;
    let [primary, replica] = &mut group.group.servers[..] else { panic!("a primary and a replica") };
    let reply = replica.command("REPLICAOF 127.0.0.1 1").await.expect("a reply");
    assert!(reply.starts_with("+OK"), "{reply}");
    // These are lost: invalidations, entries and messages.
    primary.command(&format!("SET {MARK} 1")).await.expect("a reply");
    group.run.commits(PHASE).await;
    group.run.report().await;
    group.group.servers[0].kill();
    let (elected, took) = group.elected(0).await;
    let recovered = group.run.recovered().await;
    tell(&format!("killed, with lost writes: elected after {took:?}, invalidation goes on {recovered:?} later"));
    let mark = group.group.servers[elected].command(&format!("GET {MARK}")).await.expect("a reply");
    assert_eq!(mark, "$-1\r\n", "the write was lost");
    group.run.commits(PHASE).await;
    let rewinds = group.rewinds().await;
    assert!(rewinds > 0, "no invalidation was lost: the test proves nothing");
    group.run.rest("killed, with lost writes").await;
    group.run.sum.is_right("primary killed, Sentinel elects", &["session", "bounded"]);
    group.run.is_right_from_now_on("after the election").await;
}

/// With `wait_replicas` an invalidation is applied only when a replica has it: while the replicas are frozen nothing is
/// applied, and a failover loses nothing that was applied, so plain reads are right throughout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_replicas_a_killed_primary_costs_plain_reads_nothing() {
    let mut group = Group::start(2, 2, 1).await;
    for replica in &mut group.group.servers[1..] {
        replica.freeze();
    }
    let store = group.run.fleet.store().await;
    let before = cachefront_testkit::shop::applied(&*store).await.expect("something is applied");
    group.run.commits(10).await;
    let executed = group.run.fleet.executed().await;
    replicas_are_missing(&mut group.run.pods).await;
    let meanwhile = cachefront_testkit::shop::applied(&*store).await.expect("something is applied");
    assert!(meanwhile.covers(&before) && !meanwhile.covers(&executed), "without a replica nothing is applied");
    for replica in &mut group.group.servers[1..] {
        replica.resume();
    }
    tell(&format!("replicas back: invalidation goes on after {:?}", group.run.recovered().await));
    group.run.commits(PHASE).await;
    group.group.servers[0].kill();
    let (elected, took) = group.elected(0).await;
    let recovered = group.run.recovered().await;
    tell(&format!(
        "killed, with a replica's confirmation: elected after {took:?}, invalidation goes on {recovered:?} later"
    ));
    assert_ne!(elected, 0);
    group.run.commits(PHASE).await;
    group.run.rest("with wait_replicas").await;
    group.run.sum.is_right("primary killed, replicas confirm", &["session", "bounded", "eventual"]);
}
