//! What only a cluster can show: nodes that are away, shards that have moved, and what is refused.

use std::time::Duration;

use cachefront_core::ErrorKind;
use cachefront_core::store::{
    Cover, Expected, Generation, InvalidationMode, LeaseReply, LeaseRequest, Store, StoreState, Token,
};
use cachefront_redis::{RedisStore, testing};
use cachefront_testkit::server::{Cluster, shared_cluster};
use cachefront_testkit::{stack, unique, wait};

use crate::connection::{key, lease_of, meta};

const WAIT: Duration = Duration::from_secs(30);

async fn refused(url: &str, shards: u32, namespace: &str) -> String {
    let builder = RedisStore::builder(url).namespace(namespace).shards(shards);
    let error = builder.connect().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    error.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_kind_of_server_and_another_number_of_shards_are_refused() {
    let (url, namespace) = (shared_cluster().await, unique::namespace());
    let host = url.trim_start_matches("redis+cluster://").split(',').next().expect("a host").to_owned();
    assert!(refused(&format!("redis://{host}/"), 1, &namespace).await.contains("redis[s]+cluster://"));
    let single = stack::redis_url().replace("redis://", "redis+cluster://");
    assert!(refused(&single, 1, &namespace).await.contains("redis[s]://"));

    let store = RedisStore::builder(&url).namespace(&namespace).connect().await.expect("a store of 64 shards");
    store.writer().await.expect("a writer").flush(&meta(7, 1)).await.expect("a flush");
    assert!(refused(&url, 32, &namespace).await.contains("64 shards"));
    assert!(refused(&url, 128, &namespace).await.contains("64 shards"));
}

/// A node that was removed knows no slot, and replies all the same: a URL that names it first leads to the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_from_the_cluster_is_passed_over() {
    let cluster = Cluster::start().await;
    let removed = cluster.replica_of(0).await;
    let reset = cluster.nodes[removed].command("CLUSTER RESET").await.expect("a reply");
    assert!(reset.starts_with("+OK"), "{reset}");
    let hosts = [removed, 0].map(|node| format!("127.0.0.1:{}", cluster.nodes[node].port()));
    let builder = RedisStore::builder(&format!("redis+cluster://{}/", hosts.join(","))).namespace(unique::namespace());
    let store = builder.connect().await.expect("a store");
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 1)).await.expect("a flush");
    assert!(store.get(&key(1)).await.expect("a reading").meta.is_some());
}

/// The only node that the URL names is gone: a writer asks those that readers know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_finds_nodes_that_the_url_does_not_name() {
    let mut cluster = Cluster::start().await;
    let named = cluster.replica_of(0).await;
    let url = format!("redis+cluster://127.0.0.1:{}/", cluster.nodes[named].port());
    let store = RedisStore::builder(&url).namespace(unique::namespace()).connect().await.expect("a store");
    cluster.nodes[named].kill();
    let mut writer = store.writer().await.expect("the other nodes are known");
    writer.flush(&meta(7, 1)).await.expect("a flush");
}

/// A node and its replica are away: the keys of their shards cannot be read, and all others can, also in one call for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_costs_its_own_keys_only() {
    let mut cluster = Cluster::start().await;
    let namespace = unique::namespace();
    let store = RedisStore::builder(&cluster.url()).namespace(&namespace).connect().await.expect("a store");
    store.writer().await.expect("a writer").flush(&meta(7, 1)).await.expect("a flush");
    let gone = cluster.owner_of(&testing::meta_key(&namespace, key(1).shard(64))).await;
    let mut other = 2;
    while cluster.owner_of(&testing::meta_key(&namespace, key(other).shard(64))).await == gone {
        other += 1;
    }
    let replica = cluster.replica_of(gone).await;
    cluster.nodes[replica].kill();
    cluster.nodes[gone].kill();
    wait::until_async("the loss is noticed", WAIT, async || store.get(&key(1)).await.is_err()).await;
    wait::until_async("the others are read", WAIT, async || store.get(&key(other)).await.is_ok()).await;
    let both = store.get_many(&[key(1), key(other)]).await.expect("one of them can be read");
    // The first peek opens connections of its own.
    assert!(store.peek(&key(other)).await.expect("its node is there").meta.is_some());
    assert!(store.peek(&key(1)).await.is_err());
    assert!(both[0].meta.is_none() && both[1].meta.is_some(), "{both:?}");
    cluster.nodes[gone].restart().await;
    wait::until_async("all keys are read again", WAIT, async || {
        store.get(&key(1)).await.is_ok() && store.get(&key(other)).await.is_ok()
    })
    .await;
    wait::until_async("all keys are peeked at", WAIT, async || store.peek(&key(1)).await.is_ok()).await;
}

/// A slot moves while no invalidator watches: what its shard holds is not trusted, and no other shard loses anything. A
/// writer whose servers have changed is of no further use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_has_moved_begins_new_generations_and_no_other_does() {
    let cluster = Cluster::start().await;
    let namespace = unique::namespace();
    let store = RedisStore::builder(&cluster.url()).namespace(&namespace).connect().await.expect("a store");
    let mut former = store.writer().await.expect("a writer");
    former.flush(&meta(7, 1)).await.expect("a flush");
    let moved = testing::meta_key(&namespace, key(1).shard(64));
    let (slot, from) = (cluster.slot_of(&moved).await, cluster.owner_of(&moved).await);
    let to = (0..3).find(|node| *node != from).expect("another primary");
    cluster.move_slot(slot, from, to).await;
    let held = Expected { generation: Generation(7), term: 1, applied_order: 1 };
    former.raise_high_watermark(&held, 2).await.expect_err("a redirect ends the session");

    let mut writer = store.writer().await.expect("a writer");
    let StoreState::Live(state) = writer.state().await.expect("a state") else { panic!("the others are live") };
    writer.take_term(&state, 2).await.expect("a term");
    wait::until_async("readers find the shard", WAIT, async || store.get(&key(1)).await.is_ok()).await;
    let coverage = async |id: u64| store.get(&key(id)).await.expect("a reading").meta.expect("a meta").coverage.clone();
    assert!(coverage(1).await.rows().is_empty(), "until it is covered again");
    let mut row = state.coverage.rows()[0].clone();
    row.generation = Generation(99);
    let held = Expected { term: 2, ..held };
    writer.cover(&held, Generation(8), &[Cover { covered: row, fresh: false }]).await.expect("a coverage");
    assert_eq!(coverage(1).await.rows()[0].generation, Generation(99));
    let other = (2..).find(|id| key(*id).shard(64) != key(1).shard(64)).expect("another shard");
    assert_eq!(coverage(other).await.rows()[0].generation, Generation(7), "no other shard lost anything");
}

/// A node without a shard is walked over by no clear: what a move has brought there would stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_while_a_slot_is_being_moved_is_refused() {
    let cluster = Cluster::start().await;
    let empty = cluster.empty_node().await;
    let namespace = unique::namespace();
    let store = RedisStore::builder(&cluster.url()).namespace(&namespace).connect().await.expect("a store");
    let (leased, token) = (key(1), Token::from_u128(1).expect("a token"));
    let request =
        LeaseRequest { duration: Duration::from_secs(600), ..lease_of(&leased, token, InvalidationMode::Ttl) };
    assert!(matches!(store.lease(&request).await.expect("a reply"), LeaseReply::Granted { .. }));
    let meta = testing::meta_key(&namespace, key(1).shard(64));
    let (slot, from) = (cluster.slot_of(&meta).await, cluster.owner_of(&meta).await);
    cluster.begin_move(slot, from, empty).await;
    cluster.move_keys(slot, from, empty, 100).await;
    let outcomes = [store.discard_cache("users").await, store.clear().await.map(drop)];
    for outcome in outcomes {
        let error = outcome.expect_err("an entry is where the walk does not lead");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
        assert!(error.to_string().contains("moved"), "{error}");
    }
    cluster.end_move(slot, empty).await;
    wait::until_async("the cache is cleared", WAIT, async || store.discard_cache("users").await.is_ok()).await;
    assert!(store.get(&key(1)).await.expect("a reading").entry.is_none());
}

/// A node that does not know its own host names no other's: it is the one that was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_followed_to_a_node_without_a_host() {
    let cluster = Cluster::start().await;
    for node in &cluster.nodes {
        let set = node.command("CONFIG SET cluster-preferred-endpoint-type unknown-endpoint").await.expect("a reply");
        assert!(set.starts_with("+OK"), "{set}");
    }
    let namespace = unique::namespace();
    let store = RedisStore::builder(&cluster.url()).namespace(&namespace).connect().await.expect("a store");
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 1)).await.expect("a flush");
    let moved = testing::meta_key(&namespace, 0);
    let (slot, from) = (cluster.slot_of(&moved).await, cluster.owner_of(&moved).await);
    let to = (0..3).find(|node| *node != from).expect("another primary");
    cluster.begin_move(slot, from, to).await;
    cluster.move_keys(slot, from, to, 100).await;
    let held = Expected { generation: Generation(7), term: 1, applied_order: 1 };
    writer.raise_high_watermark(&held, 2).await.expect("the meta is written where it is");
}
