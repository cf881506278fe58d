//! Redis changes its primary behind one address, under load, with the local tier on in several processes.

use std::time::Duration;

use cachefront_tests::address::Address;
use cachefront_tests::fleet::{Fleet, Pod, Writer, now};
use cachefront_tests::server::Redis;
use cachefront_tests::shop::{PATIENCE, applied};
use cachefront_tests::{stack, wait};

use crate::common::{ACTOR, PHASE, Sum, at_rest, code, commits, item, tell};

/// A primary, a replica of it, and processes that find the primary behind an address.
struct Pair {
    primary: Redis,
    replica: Redis,
    address: Address,
    fleet: Fleet,
    writer: Writer,
    pods: Vec<Pod>,
}

async fn role(redis: &Redis, primary: Option<&Redis>) {
    let line = match primary {
        Some(primary) => format!("REPLICAOF 127.0.0.1 {}", primary.port()),
        None => "REPLICAOF NO ONE".into(),
    };
    let reply = redis.command(&line).await.expect("an answer");
    assert!(reply.starts_with("+OK"), "{line}: {reply}");
}

async fn in_step(redis: &Redis) {
    wait::until_async("the replica is in step", PATIENCE, async || {
        redis.command("INFO replication").await.is_ok_and(|info| info.contains("master_link_status:up"))
    })
    .await;
}

impl Pair {
    async fn start(processes: usize) -> Self {
        let extra = ["--repl-diskless-sync-delay", "0"];
        let (primary, replica) = tokio::join!(Redis::start_with(&extra), Redis::start_with(&extra));
        role(&replica, Some(&primary)).await;
        in_step(&replica).await;
        let address = Address::of(primary.port()).await;
        let fleet = Fleet::open_on(&stack::mysql_url(), &format!("redis://127.0.0.1:{}", address.port())).await;
        let writer = fleet.write();
        let mut pods = Vec::new();
        for _ in 0..processes {
            let setup = fleet.setup(&[item(), code()]);
            pods.push(Pod::ready(ACTOR, &fleet, &setup).await);
        }
        commits(&writer, PHASE).await;
        Self { primary, replica, address, fleet, writer, pods }
    }

    async fn add(&mut self, sum: &mut Sum) {
        for pod in &mut self.pods {
            sum.add(&pod.report().await);
        }
    }

    /// Waits until a commit that was made after now is applied to the server behind the address; answers how long that
    /// took.
    async fn recovered(&self) -> Duration {
        let begun = now();
        commits(&self.writer, 1).await;
        let executed = self.fleet.executed().await;
        wait::until_async("invalidation goes on", PATIENCE, async || {
            let store = cachefront::redis::RedisStore::builder(&self.fleet.redis_url).namespace(&*self.fleet.namespace);
            let Ok(store) = store.connect().await else { return false };
            applied(&store).await.is_some_and(|applied| applied.covers(&executed))
        })
        .await;
        Duration::from_micros(now() - begun)
    }
}

/// Both servers stay alive. The old primary becomes a replica of the new one, and keeps its clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_and_back_costs_no_wrong_answer() {
    let mut pair = Pair::start(2).await;
    let mut sum = Sum::default();
    for turn in ["there", "back"] {
        pair.add(&mut sum).await;
        role(&pair.replica, None).await;
        pair.address.move_to(pair.replica.port());
        role(&pair.primary, Some(&pair.replica)).await;
        std::mem::swap(&mut pair.primary, &mut pair.replica);
        let recovered = pair.recovered().await;
        tell(&format!("planned, {turn}: invalidation goes on after {recovered:?}"));
        in_step(&pair.replica).await;
        commits(&pair.writer, 2 * PHASE).await;
    }
    pair.add(&mut sum).await;
    let rest = at_rest(&pair.fleet, &pair.writer, &mut pair.pods).await;
    tell(&format!("planned: at rest {} fresh, {} stale", rest.fresh, rest.stale.len()));
    sum.is_right("planned failover of the store", &["session", "bounded"]);
    assert!(rest.stale.is_empty(), "{:?}", rest.stale);
}

/// The old primary keeps its clients and what it had: it follows no server, or goes on as if it were the primary still.
async fn left_behind(what: &str, demoted: bool) {
    let mut pair = Pair::start(2).await;
    let mut sum = Sum::default();
    role(&pair.replica, None).await;
    pair.address.move_to(pair.replica.port());
    if demoted {
        let reply = pair.primary.command("REPLICAOF 127.0.0.1 1").await.expect("an answer");
        assert!(reply.starts_with("+OK"), "{reply}");
    }
    // It finds the new primary, where only an invalidator that notices the move invalidates.
    let setup = pair.fleet.setup(&[item(), code()]);
    pair.pods.push(Pod::ready(ACTOR, &pair.fleet, &setup).await);
    tell(&format!("{what}: invalidation goes on after {:?}", pair.recovered().await));
    commits(&pair.writer, 4 * PHASE).await;
    pair.add(&mut sum).await;
    sum.is_right(what, &["session", "bounded"]);
    // Its connections end at last.
    pair.primary.kill();
    pair.recovered().await;
    commits(&pair.writer, PHASE).await;
    let rest = at_rest(&pair.fleet, &pair.writer, &mut pair.pods).await;
    tell(&format!("{what}: at rest {} fresh, {} stale", rest.fresh, rest.stale.len()));
    assert!(rest.stale.is_empty(), "{:?}", rest.stale);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_primary_that_stands_still_costs_no_wrong_answer() {
    left_behind("the old store stands still", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_primaries_at_once_cost_no_wrong_answer() {
    left_behind("two primaries of the store", false).await;
}

/// The replica has lost its primary some time ago; then the primary dies, and the replica takes its place with what it
/// had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_with_lost_writes_is_repaired() {
    let mut pair = Pair::start(3).await;
    let mut sum = Sum::default();
    role(&pair.replica, None).await;
    // These are lost: invalidations, entries and messages.
    commits(&pair.writer, PHASE).await;
    pair.add(&mut sum).await;
    pair.primary.kill();
    pair.address.move_to(pair.replica.port());
    let recovered = pair.recovered().await;
    tell(&format!("crash with lost writes: invalidation goes on after {recovered:?}"));
    commits(&pair.writer, PHASE).await;
    let mut rewinds = 0;
    for pod in &mut pair.pods {
        let report = pod.report().await;
        rewinds += report.rewinds;
        sum.add(&report);
    }
    let rest = at_rest(&pair.fleet, &pair.writer, &mut pair.pods).await;
    tell(&format!("crash: at rest {} fresh, {} stale; {rewinds} rewinds", rest.fresh, rest.stale.len()));
    sum.is_right("crash of the store", &["session", "bounded"]);
    assert!(rest.stale.is_empty(), "{:?}", rest.stale);
    // After the recovery plain reads are right too.
    let mut after = Sum::default();
    commits(&pair.writer, PHASE).await;
    pair.add(&mut after).await;
    after.is_right("after the crash of the store", &["session", "bounded", "eventual"]);
}
