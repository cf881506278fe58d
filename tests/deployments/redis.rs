//! Redis changes its primary behind one address, under load, with the local tier on in several processes.

use cachefront_testkit::address::Address;
use cachefront_testkit::fleet::Fleet;
use cachefront_testkit::server::Redis;
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::{stack, wait};

use crate::common::{PHASE, Run, code, item, tell};

/// A primary, a replica of it, and processes that find the primary behind an address.
struct Pair {
    run: Run,
    address: Address,
    primary: Redis,
    replica: Redis,
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
        let fleet = Fleet::open_on(&stack::mysql_url(), &address.redis_url()).await;
        let mut run = Run::begin(fleet);
        for _ in 0..processes {
            run.start(&[item(), code()]).await;
        }
        run.commits(PHASE).await;
        Self { run, address, primary, replica }
    }
}

/// Both servers stay alive. The old primary becomes a replica of the new one, and keeps its clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_and_back_costs_no_wrong_answer() {
    let mut pair = Pair::start(2).await;
    for turn in ["there", "back"] {
        pair.run.report().await;
        role(&pair.replica, None).await;
        pair.address.move_to(pair.replica.port());
        role(&pair.primary, Some(&pair.replica)).await;
        std::mem::swap(&mut pair.primary, &mut pair.replica);
        let recovered = pair.run.recovered().await;
        tell(&format!("planned, {turn}: invalidation goes on after {recovered:?}"));
        in_step(&pair.replica).await;
        pair.run.commits(2 * PHASE).await;
    }
    pair.run.rest("planned").await;
    pair.run.sum.is_right("planned failover of the store", &["session", "bounded"]);
}

/// The old primary keeps its clients and what it had: it follows no server, or goes on as if it were the primary still.
async fn left_behind(what: &str, demoted: bool) {
    let mut pair = Pair::start(2).await;
    role(&pair.replica, None).await;
    pair.address.move_to(pair.replica.port());
    if demoted {
        let reply = pair.primary.command("REPLICAOF 127.0.0.1 1").await.expect("an answer");
        assert!(reply.starts_with("+OK"), "{reply}");
    }
    // It finds the new primary, where only an invalidator that notices the move invalidates.
    pair.run.start(&[item(), code()]).await;
    tell(&format!("{what}: invalidation goes on after {:?}", pair.run.recovered().await));
    pair.run.commits(4 * PHASE).await;
    pair.run.report().await;
    pair.run.sum.is_right(what, &["session", "bounded"]);
    // Its connections end at last.
    pair.primary.kill();
    pair.run.recovered().await;
    pair.run.commits(PHASE).await;
    pair.run.rest(what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_demoted_primary_causes_no_wrong_read() {
    left_behind("the old store is frozen", true).await;
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
    role(&pair.replica, None).await;
    // These are lost: invalidations, entries and messages.
    pair.run.commits(PHASE).await;
    pair.run.report().await;
    pair.primary.kill();
    pair.address.move_to(pair.replica.port());
    let recovered = pair.run.recovered().await;
    tell(&format!("crash with lost writes: invalidation goes on after {recovered:?}"));
    pair.run.commits(PHASE).await;
    let mut rewinds = 0;
    for pod in &mut pair.run.pods {
        let report = pod.report().await;
        rewinds += report.rewinds;
        pair.run.sum.add(&report);
    }
    tell(&format!("crash with lost writes: {rewinds} rewinds"));
    pair.run.rest("crash with lost writes").await;
    pair.run.sum.is_right("crash of the store", &["session", "bounded"]);
    pair.run.is_right_from_now_on("after the crash of the store").await;
}
