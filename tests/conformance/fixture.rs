//! A store in a shared server, under a namespace of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront_core::store::Store;
use cachefront_core::testing::StoreFixture;
use cachefront_redis::{RedisStore, testing};
use cachefront_testkit::server::{shared_cluster, shared_valkey, shared_valkey_cluster};
use cachefront_testkit::{stack, unique};
use redis::aio::MultiplexedConnection;

pub(crate) struct InRedis {
    store: RedisStore,
    raw: MultiplexedConnection,
    shards: u32,
}

pub(crate) async fn redis(shards: u32) -> InRedis {
    in_server(stack::redis_url(), shards).await
}

/// The same in a Valkey.
pub(crate) async fn valkey(shards: u32) -> InRedis {
    in_server(shared_valkey().await, shards).await
}

async fn in_server(url: String, shards: u32) -> InRedis {
    let builder = RedisStore::builder(&url).namespace(unique::namespace()).shards(shards);
    let store = builder.connect().await.expect("a store in the shared server");
    InRedis { store, raw: raw(&url).await, shards }
}

/// The same in a cluster that all tests share.
pub(crate) async fn cluster(shards: u32) -> InCluster {
    in_cluster(shared_cluster().await, shards).await
}

/// The same in a cluster of Valkey.
pub(crate) async fn valkey_cluster(shards: u32) -> InCluster {
    in_cluster(shared_valkey_cluster().await, shards).await
}

async fn in_cluster(url: String, shards: u32) -> InCluster {
    let builder = RedisStore::builder(&url).namespace(unique::namespace()).shards(shards);
    InCluster { store: builder.connect().await.expect("a store in the cluster"), url, shards }
}

pub(crate) struct InCluster {
    store: RedisStore,
    url: String,
    shards: u32,
}

#[async_trait]
impl StoreFixture for InCluster {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn pass(&self, duration: Duration) {
        // sleep: as above.
        tokio::time::sleep(duration + Duration::from_millis(5)).await;
    }

    async fn lose_metas(&self) {
        let metas = (0..self.shards).map(|shard| testing::meta_key(self.store.namespace(), shard));
        assert_eq!(delete_in_cluster(&self.url, metas).await, self.shards, "every shard had a meta");
    }
}

/// Deletes keys, each at whichever node has it; returns how many there were.
pub(crate) async fn delete_in_cluster(url: &str, keys: impl Iterator<Item = String>) -> u32 {
    let hosts = url.trim_start_matches("redis+cluster://").trim_end_matches('/').split(',');
    let mut nodes = Vec::new();
    for host in hosts {
        nodes.push(raw(&format!("redis://{host}/")).await);
    }
    let mut deleted = 0;
    for key in keys {
        for node in &mut nodes {
            deleted += redis::cmd("DEL").arg(&key).query_async::<u32>(node).await.unwrap_or_default();
        }
    }
    deleted
}

/// A connection of the test's own, to look behind the store.
pub(crate) async fn raw(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("a connection")
}

#[async_trait]
impl StoreFixture for InRedis {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn pass(&self, duration: Duration) {
        // sleep: the server's own clock has to go on; a little more, for it counts some times in whole milliseconds.
        tokio::time::sleep(duration + Duration::from_millis(5)).await;
    }

    async fn lose_metas(&self) {
        let namespace = self.store.namespace();
        let metas: Vec<String> = (0..self.shards).map(|shard| testing::meta_key(namespace, shard)).collect();
        let mut raw = self.raw.clone();
        let lost: u32 = redis::cmd("DEL").arg(&metas).query_async(&mut raw).await.expect("the metas are deleted");
        assert_eq!(lost, self.shards, "every shard had a meta");
    }
}
