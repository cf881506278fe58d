//! A Redis Cluster under load, with the local tier on in several processes: slots move, nodes die.

use std::time::Duration;

use cachefront_core::store::{InvalidationMode, LeaseReply, LeaseRequest, MappingId, Token};
use cachefront_redis::testing;
use cachefront_testkit::fleet::{Fleet, LagPolicy, Pod, now};
use cachefront_testkit::server::Cluster;
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::{stack, wait};

use crate::common::{ACTOR, PHASE, Run, code, commits, item, replicas_are_missing, tell};
use crate::crowd::{during, say};
use crate::race::{self, FailOver, race};

/// Logical shards of a cluster by default.
const SHARDS: u32 = 64;

pub(crate) struct Clustered {
    pub(crate) run: Run,
    pub(crate) cluster: Cluster,
    /// The node that was killed last.
    killed: usize,
}

impl FailOver for Clustered {
    fn run(&mut self) -> &mut Run {
        &mut self.run
    }

    async fn fail_over(&mut self) {
        self.killed = self.cluster.owner_of(&testing::meta_key(&self.run.fleet.namespace, 0)).await;
        let replica = self.cluster.replica_of(self.killed).await;
        self.cluster.nodes[self.killed].kill();
        wait::until_async("the replica is the primary", PATIENCE, async || {
            let info = self.cluster.nodes[replica].command("INFO replication").await.unwrap_or_default();
            info.contains("role:master")
        })
        .await;
    }

    async fn restore(&mut self) {
        self.cluster.nodes[self.killed].restart().await;
        wait::until_async("the former primary is a replica in step", PATIENCE, async || {
            let info = self.cluster.nodes[self.killed].command("INFO replication").await.unwrap_or_default();
            info.contains("role:slave") && info.contains("master_link_status:up")
        })
        .await;
    }
}

/// The node of a shard is killed every ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_under_failovers_of_a_cluster() {
    let cluster = Cluster::start().await;
    let run = race::begin(Fleet::open_on(&stack::mysql_url(), &cluster.url()).await).await;
    race("race, cluster", &mut Clustered::new(run, cluster)).await;
}

impl Clustered {
    pub(crate) fn new(run: Run, cluster: Cluster) -> Self {
        Self { run, cluster, killed: 0 }
    }

    async fn start(processes: usize) -> Self {
        Self::start_with(processes, 0).await
    }

    async fn start_with(processes: usize, wait_replicas: usize) -> Self {
        let cluster = Cluster::start().await;
        let mut fleet = Fleet::open_on(&stack::mysql_url(), &cluster.url()).await;
        fleet.wait_replicas = wait_replicas;
        let mut run = Run::begin(fleet);
        for _ in 0..processes {
            run.start(&[item(), code()]).await;
        }
        run.commits(PHASE).await;
        Self::new(run, cluster)
    }
}

/// Slots of shards and of the bus move from node to node, with their keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_cost_no_wrong_answer() {
    let mut test = Clustered::start(2).await;
    let namespace = test.run.fleet.namespace.clone();
    let shards = (0..SHARDS).step_by(8).map(|shard| testing::meta_key(&namespace, shard));
    let keys: Vec<String> = shards.chain([testing::bus_key(&namespace)]).collect();
    let begun = now();
    for key in &keys {
        let (slot, from) = (test.cluster.slot_of(key).await, test.cluster.owner_of(key).await);
        let mut primaries = Vec::new();
        for other in
            [testing::meta_key(&namespace, 1), testing::meta_key(&namespace, 2), testing::meta_key(&namespace, 3)]
        {
            primaries.push(test.cluster.owner_of(&other).await);
        }
        let to = (0..6).find(|node| *node != from && *node < 3).expect("another primary");
        test.cluster.begin_move(slot, from, to).await;
        test.run.commits(10).await;
        while test.cluster.move_keys(slot, from, to, 1).await > 0 {}
        test.cluster.end_move(slot, to).await;
        test.run.commits(10).await;
    }
    tell(&format!("{} slots moved in {} ms", keys.len(), (now() - begun) / 1000));
    tell(&format!("slots moved: invalidation goes on after {:?}", test.run.recovered().await));
    test.run.commits(PHASE).await;
    test.run.rest("slots moved").await;
    test.run.sum.is_right("slots that move", &["session", "bounded"]);
    test.run.is_right_from_now_on("after the moves").await;
}

/// While a slot is being moved, for as long as that takes, invalidation, reads and fills go on, wherever its keys are; of
/// the shard itself nothing is cached meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidation_goes_on_while_slots_are_being_moved() {
    let mut test = Clustered::start(2).await;
    let namespace = test.run.fleet.namespace.clone();
    let watched = cachefront::StoreKey::encode("item", &0_u64).expect("a key").shard(SHARDS);
    let shards = (0..SHARDS).filter(|shard| *shard != watched).step_by(13);
    let keys = shards.map(|shard| testing::meta_key(&namespace, shard)).chain([testing::bus_key(&namespace)]);
    let (mut moving, mut ended) = (Duration::ZERO, Duration::ZERO);
    for key in keys {
        let (slot, from) = (test.cluster.slot_of(&key).await, test.cluster.owner_of(&key).await);
        let to = (0..3).find(|node| *node != from).expect("another primary");
        test.cluster.begin_move(slot, from, to).await;
        moving = moving.max(test.run.recovered().await);
        while test.cluster.move_keys(slot, from, to, 1).await > 0 {
            moving = moving.max(test.run.recovered().await);
        }
        moving = moving.max(test.run.recovered().await);
        test.run.report().await;
        test.cluster.end_move(slot, to).await;
        ended = ended.max(test.run.recovered().await);
    }
    tell(&format!(
        "slots being moved: a commit is applied after at most {moving:?}, after the end of a move {ended:?}"
    ));
    assert!(moving < Duration::from_secs(2), "invalidation stalls while a slot is being moved");
    test.run.rest("slots being moved").await;
    test.run.sum.is_right("slots being moved", &["session", "bounded"]);
    test.run.is_right_from_now_on("after these moves").await;
}

/// A move that is given up: the shard is cached again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_given_up_leaves_a_shard_that_is_cached() {
    let test = Clustered::start(1).await;
    let namespace = test.run.fleet.namespace.clone();
    let encode = |id: u64| cachefront::StoreKey::encode("item", &id).expect("a key");
    // One that is written all the time: its invalidation notices the move. And one of the same shard that never is.
    let shard = encode(1).shard(SHARDS);
    let key = (1_000_000..).map(encode).find(|key| key.shard(SHARDS) == shard).expect("a key of the shard");
    let meta = testing::meta_key(&namespace, shard);
    let (slot, from) = (test.cluster.slot_of(&meta).await, test.cluster.owner_of(&meta).await);
    let to = (0..3).find(|node| *node != from).expect("another primary");
    let store = test.run.fleet.store().await;
    // What is still at the old node is read there, with the meta that it has: the meta itself must say that nothing counts.
    let request = LeaseRequest {
        key: &key,
        token: Token::from_u128(1).expect("a token"),
        duration: PATIENCE,
        mode: InvalidationMode::Ttl,
        mapping: MappingId::default(),
        schema_version: 0,
        reload: false,
    };
    assert!(matches!(store.lease(&request).await, Ok(LeaseReply::Granted { .. })));
    let covered = async || {
        let reading = store.get(&key).await.ok();
        reading.and_then(|reading| reading.meta).is_some_and(|meta| !meta.coverage.rows().is_empty())
    };
    wait::until_async("the shard is covered", PATIENCE, covered).await;
    test.cluster.begin_move(slot, from, to).await;
    wait::until_async("the shard is not covered", PATIENCE, async || {
        let reading = store.get(&key).await.ok();
        reading.and_then(|reading| reading.meta).is_some_and(|meta| meta.coverage.rows().is_empty())
    })
    .await;
    test.cluster.give_up_move(slot, from, to).await;
    wait::until_async("the shard is covered again", PATIENCE, covered).await;
}

/// The node of a shard dies after its replica has lost the connection to it: what it had applied last is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_with_lost_writes_is_repaired() {
    let mut test = Clustered::start(3).await;
    let meta = testing::meta_key(&test.run.fleet.namespace, 0);
    let mark = meta.replace("#meta", "#mark");
    let primary = test.cluster.owner_of(&meta).await;
    let replica = test.cluster.replica_of(primary).await;
    test.cluster.nodes[replica].freeze();
    test.cluster.nodes[primary].command("CLIENT KILL TYPE SLAVE").await.expect("a reply");
    // These are lost.
    let set = test.cluster.nodes[primary].command(&format!("SET {mark} 1")).await.expect("a reply");
    assert!(set.starts_with("+OK"), "{set}");
    test.run.commits(20).await;
    test.run.report().await;
    test.cluster.nodes[primary].kill();
    test.cluster.nodes[replica].resume();
    let begun = now();
    wait::until_async("the replica is the primary", PATIENCE, async || {
        let info = test.cluster.nodes[replica].command("INFO replication").await.unwrap_or_default();
        info.contains("role:master")
    })
    .await;
    tell(&format!("node killed: elected after {} ms", (now() - begun) / 1000));
    tell(&format!("node killed: invalidation goes on {:?} later", test.run.recovered().await));
    let found = test.cluster.nodes[replica].command(&format!("GET {mark}")).await.expect("a reply");
    assert_eq!(found, "$-1\r\n", "the write was lost");
    test.run.commits(PHASE).await;
    test.run.rest("node killed").await;
    test.run.sum.is_right("node killed, with lost writes", &["session", "bounded"]);
    test.run.is_right_from_now_on("after the election of a node").await;
}

/// With `wait_replicas` the replica of each node has an invalidation before it is applied: while one is frozen nothing is
/// applied, and a killed node costs plain reads nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_replicas_a_killed_node_costs_plain_reads_nothing() {
    let mut test = Clustered::start_with(2, 1).await;
    let primary = test.cluster.owner_of(&testing::meta_key(&test.run.fleet.namespace, 0)).await;
    let replica = test.cluster.replica_of(primary).await;
    test.cluster.nodes[replica].freeze();
    test.run.commits(10).await;
    let executed = test.run.fleet.executed().await;
    replicas_are_missing(&mut test.run.pods).await;
    let store = test.run.fleet.store().await;
    let applied = cachefront_testkit::shop::applied(&*store).await.expect("something is applied");
    assert!(!applied.covers(&executed), "without the replica nothing is applied");
    test.cluster.nodes[replica].resume();
    tell(&format!("cluster, replica back: invalidation goes on after {:?}", test.run.recovered().await));
    test.run.commits(PHASE).await;
    test.cluster.nodes[primary].kill();
    wait::until_async("the replica is the primary", PATIENCE, async || {
        let info = test.cluster.nodes[replica].command("INFO replication").await.unwrap_or_default();
        info.contains("role:master")
    })
    .await;
    // It needs a replica of its own.
    test.cluster.nodes[primary].restart().await;
    tell(&format!("cluster, node killed: invalidation goes on {:?} after it is back", test.run.recovered().await));
    test.run.commits(PHASE).await;
    test.run.rest("cluster with wait_replicas").await;
    test.run.sum.is_right("node killed, replicas confirm", &["session", "bounded", "eventual"]);
}

/// A node and its replica are away, so nothing is applied: the keys of their shards are loaded, and all others are served by
/// the freshness objective. No plain read is older than that, and invalidation goes on when the node is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_are_away_cost_their_keys_loads_and_the_others_age() {
    let (objective, shortened) = (2_000, 1_000);
    let mut cluster = Cluster::start().await;
    let fleet = Fleet::open_on(&stack::mysql_url(), &cluster.url()).await;
    let writer = fleet.write_paced(Duration::from_millis(100));
    let mut setup = fleet.setup(&[item(), code()]);
    setup.quiet = true;
    let _holder = Pod::ready(ACTOR, &fleet, &setup).await;
    (setup.bind, setup.crowd, setup.loads_max) = (Some(Vec::new()), 2, 4);
    setup.lag = Some(LagPolicy { objective_ms: objective, ttl_ms: shortened });
    let mut pods = [Pod::ready(ACTOR, &fleet, &setup).await, Pod::ready(ACTOR, &fleet, &setup).await];
    commits(&writer, 10).await;
    let time = Duration::from_secs(5);
    let before = during(&mut pods, time).await;
    say("shards away", "before", time, &before);
    let gone = cluster.owner_of(&testing::meta_key(&fleet.namespace, 0)).await;
    let replica = cluster.replica_of(gone).await;
    cluster.nodes[replica].kill();
    cluster.nodes[gone].kill();
    let onset = during(&mut pods, Duration::from_secs(4)).await;
    say("shards away", "the first 4 s", Duration::from_secs(4), &onset);
    let away = during(&mut pods, 2 * time).await;
    say("shards away", "the next 10 s", 2 * time, &away);
    cluster.nodes[gone].restart().await;
    let back = now();
    fleet.settle().await;
    tell(&format!("shards away: everything is applied {:?} after they are back", Duration::from_micros(now() - back)));
    let after = during(&mut pods, time).await;
    say("shards away", "after", time, &after);
    let allowed = Duration::from_millis(objective + shortened);
    for seen in [&before, &onset, &away, &after] {
        assert!(seen.reads > 0 && seen.errors == 0, "{seen:?}");
        assert!(seen.oldest() < allowed, "{:?} old, and {allowed:?} are allowed", seen.oldest());
        assert!(seen.loads_at_once <= 8, "{seen:?}");
    }
    // Without the store every plain read is a load.
    assert!(away.loads < away.reads / 2, "the other shards' keys are served: {away:?}");
    let mut conn = pods;
    let _paused = writer.pause().await;
    fleet.settle().await;
    for pod in &mut conn {
        let rest = pod.rest().await;
        assert!(rest.stale.is_empty(), "{rest:?}");
    }
}
