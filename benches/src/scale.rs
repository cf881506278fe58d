//! `--scale`: what a read, an invalidation and a heartbeat cost, by the number of keys in a cluster of three nodes and 100
//! caches, and by the number of followers of one bus.
//!
//! Times and CPU are given relative to the first row of their table; the commands that the servers handle are counted.

use std::time::{Duration, Instant};

use cachefront::event::{Change, Operation, RowChange, RowImage, TableName, Value};
use cachefront::redis::RedisStore;
use cachefront::store::Store;
use cachefront::{Cache, Cdc, CdcHandle, loader_fn, testing::ScriptedSource};
use cachefront_testkit::{server::shared_cluster, unique};
use serde_json::json;
use tokio::task::JoinSet;

use crate::ratio::rounded;
use crate::world::{Keys, User, cpu_seconds};

/// Caches of the namespace.
const CACHES: u64 = 100;
/// Reads of one measurement, and the tasks that read.
const READS: u64 = 200_000;
const TASKS: u64 = 64;
/// Keys in a batch, and batches of one measurement.
const BATCH: u64 = 1_000;
const BATCHES: u64 = 20;
/// How long heartbeats are counted.
const QUIET: Duration = Duration::from_secs(4);
/// Heartbeats in a second, by default.
const BEATS: f64 = 4.0;

/// The namespace in the cluster, its caches and its invalidator.
struct World {
    url: String,
    namespace: String,
    caches: Vec<Cache<u64, User>>,
    log: ScriptedSource,
    cdc: CdcHandle,
}

/// What was measured in one situation.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Keys, or followers.
    size: u64,
    /// CPU of this process and time for one read, in µs.
    read: [f64; 2],
    /// The same for one invalidated key.
    invalidation: [f64; 2],
    /// CPU of this process for one heartbeat, in µs, and commands of all servers.
    heartbeat: [f64; 2],
}

/// Measures up to `keys_max` keys and 32 followers; returns the report.
pub(crate) async fn measure(keys_max: u64) -> serde_json::Value {
    let world = World::start().await;
    let mut by_keys = Vec::new();
    let (mut keys, mut filled) = (1_000, 0);
    while keys <= keys_max {
        world.fill(filled..keys).await;
        filled = keys;
        let read = world.read(keys).await;
        let (invalidation, heartbeat) = (world.invalidate(keys).await, world.beat().await);
        // What was invalidated is there again for the next row.
        world.fill(0..keys.min(BATCH * BATCHES)).await;
        by_keys.push(say("keys", Row { size: keys, read, invalidation, heartbeat }));
        keys *= 10;
    }
    let mut by_followers = Vec::new();
    let mut followers = JoinSet::new();
    for size in [1, 2, 4, 8, 16, 32] {
        while (followers.len() as u64) < size {
            world.follow(&mut followers).await;
        }
        let read = world.read(1_000).await;
        let (invalidation, heartbeat) = (world.invalidate(1_000).await, world.beat().await);
        world.fill(0..1_000).await;
        by_followers.push(say("followers", Row { size, read, invalidation, heartbeat }));
    }
    drop(followers);
    world.cdc.shutdown().await;
    json!({ "caches": CACHES, "by_keys": report(&by_keys), "by_followers": report(&by_followers) })
}

impl World {
    async fn start() -> Self {
        let (url, namespace) = (shared_cluster().await, unique::namespace());
        let store = RedisStore::builder(&url).namespace(&namespace).connect().await.expect("a cluster");
        let log = ScriptedSource::new("scale");
        let mut cdc = Cdc::new(log.clone());
        let mut caches = Vec::new();
        for number in 0..CACHES {
            let cache = Cache::builder(&format!("cache-{number}"))
                .shared(store.clone())
                .ttl(Duration::from_secs(36_000))
                .loader(loader_fn(async |id: u64| Ok::<_, std::io::Error>(Some(User::new(id)))))
                .depends_on_columns(&table(number), &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
                .build()
                .expect("a cache");
            cdc = cdc.bind(&cache);
            caches.push(cache);
        }
        let cdc = cdc.spawn().expect("an invalidator");
        cdc.ready().await.expect("the invalidator runs");
        Self { url, namespace, caches, log, cdc }
    }

    /// Loads the keys with these numbers; number `n` is in cache `n % CACHES`.
    async fn fill(&self, numbers: std::ops::Range<u64>) {
        let mut tasks = JoinSet::new();
        for (number, cache) in (0..CACHES).zip(&self.caches) {
            let keys: Vec<u64> = numbers.clone().filter(|key| key % CACHES == number).collect();
            let cache = cache.clone();
            tasks.spawn(async move {
                for chunk in keys.chunks(200) {
                    cache.get_many(chunk).await.expect("values");
                }
            });
            if tasks.len() >= 8 {
                tasks.join_next().await;
            }
        }
        tasks.join_all().await;
    }

    async fn read(&self, keys: u64) -> [f64; 2] {
        let (cpu, begun) = (cpu_seconds(), Instant::now());
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (caches, mut drawn) = (self.caches.clone(), Keys::new(task + 1, keys));
            tasks.spawn(async move {
                for _ in 0..READS / TASKS {
                    let key = drawn.draw();
                    let user = caches[(key % CACHES) as usize].get(&key).await.expect("a value").expect("a row");
                    assert_eq!(user.id, key);
                }
            });
        }
        tasks.join_all().await;
        each(READS, cpu, begun)
    }

    /// Changes rows in batches; ends when all of it is applied.
    async fn invalidate(&self, keys: u64) -> [f64; 2] {
        let batch = |number: u64| (0..BATCH).map(move |row| update((number * BATCH + row) % keys)).collect();
        let batches: Vec<Vec<Change>> = (0..BATCHES).map(batch).collect();
        let (cpu, begun) = (cpu_seconds(), Instant::now());
        for changes in batches {
            self.log.commit(changes);
        }
        let executed = self.log.executed();
        let mut status = self.cdc.watch();
        let applied = status.wait_for(|status| status.applied.covers(&executed));
        tokio::time::timeout(Duration::from_secs(60), applied).await.expect("in time").expect("the invalidator runs");
        each(BATCH * BATCHES, cpu, begun)
    }

    /// Counts what heartbeats cost while nothing else happens.
    async fn beat(&self) -> [f64; 2] {
        let (cpu, commands) = (cpu_seconds(), self.commands().await);
        // sleep: heartbeats are counted for this time.
        tokio::time::sleep(QUIET).await;
        let beats = QUIET.as_secs_f64() * BEATS;
        [1e6 * (cpu_seconds() - cpu) / beats, (self.commands().await - commands) as f64 / beats]
    }

    /// The commands that all nodes have handled.
    async fn commands(&self) -> u64 {
        let hosts = self.url.trim_start_matches("redis+cluster://").trim_end_matches('/');
        let mut sum = 0;
        for host in hosts.split(',') {
            let client = redis::Client::open(format!("redis://{host}/")).expect("a URL");
            let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
            let info: String = redis::cmd("INFO").arg("stats").query_async(&mut connection).await.expect("a reply");
            let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
            sum += line.and_then(|count| count.trim().parse::<u64>().ok()).expect("a count");
        }
        sum
    }

    /// Follows the bus over connections of its own, as one more process does.
    async fn follow(&self, followers: &mut JoinSet<()>) {
        let store = RedisStore::builder(&self.url).namespace(&self.namespace).connect().await.expect("a cluster");
        let mut reader = store.bus().subscribe().await.expect("a reader of the bus");
        followers.spawn(async move {
            while let Ok(read) = reader.next().await {
                drop(read);
            }
            drop(store);
        });
    }
}

fn table(number: u64) -> String {
    format!("scale.table_{number}")
}

fn update(key: u64) -> Change {
    let row = || Some(RowImage::from_pairs([("id", Value::UInt(key))]));
    let table = TableName::from(&*table(key % CACHES));
    Change::Row(RowChange { table, operation: Operation::Update, before: row(), after: row() })
}

/// CPU and time for each of `count` operations, in µs.
fn each(count: u64, cpu: f64, begun: Instant) -> [f64; 2] {
    [cpu_seconds() - cpu, begun.elapsed().as_secs_f64()].map(|seconds| 1e6 * seconds / count as f64)
}

#[expect(clippy::print_stderr, reason = "the measurement takes minutes")]
fn say(what: &str, row: Row) -> Row {
    let Row { size, read, invalidation, heartbeat } = row;
    eprintln!(
        "{size} {what}: read {:.1} µs CPU, {:.1} µs; invalidation {:.2} µs CPU, {:.2} µs; heartbeat {:.0} µs CPU, {:.0} commands",
        read[0], read[1], invalidation[0], invalidation[1], heartbeat[0], heartbeat[1]
    );
    row
}

/// Everything relative to the first row, but for the commands.
fn report(rows: &[Row]) -> Vec<serde_json::Value> {
    let Some(first) = rows.first() else { return Vec::new() };
    let by = |of: fn(&Row) -> f64, row: &Row| rounded(of(row) / of(first));
    let relative = |row: &Row| {
        json!({
            "size": row.size,
            "read_cpu": by(|row| row.read[0], row),
            "read_time": by(|row| row.read[1], row),
            "invalidation_cpu": by(|row| row.invalidation[0], row),
            "invalidation_time": by(|row| row.invalidation[1], row),
            "heartbeat_cpu": by(|row| row.heartbeat[0], row),
            "heartbeat_commands": rounded(row.heartbeat[1]),
        })
    };
    rows.iter().map(relative).collect()
}
