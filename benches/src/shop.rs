//! A namespace in a cluster of three nodes with many caches and their invalidator: what `--scale` measures on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cachefront::event::{Change, Operation, RowChange, RowImage, TableName, Value};
use cachefront::redis::RedisStore;
use cachefront::{Cache, Cdc, CdcHandle, Local, loader_fn, testing::ScriptedSource};
use cachefront_testkit::{server::shared_cluster, unique};
use tokio::task::JoinSet;

use crate::world::{Keys, User, cpu_seconds, settle};

/// Reads of one measurement, and the tasks that read.
const READS: u64 = 200_000;
const TASKS: u64 = 64;
/// Reads of keys that are not there.
const MISSES: u64 = 20_000;
/// Keys in a batch, and batches of one measurement.
const BATCH: u64 = 1_000;
const BATCHES: u64 = 20;
/// Keys that one measurement invalidates.
pub(crate) const INVALIDATED: u64 = BATCH * BATCHES;
/// How long heartbeats are counted, and how many there are by default in this time.
const QUIET: Duration = Duration::from_secs(4);
pub(crate) const BEATS_COUNTED: f64 = 16.0;
/// Flushes of one measurement.
const FLUSHES: u64 = 5;
/// The first key that is never filled.
const UNUSED: u64 = 1 << 40;

/// What one operation costs, in µs: CPU of this process, and time if that was measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) cpu: f64,
    pub(crate) time: Option<f64>,
}

/// The namespace, its caches with and without a process-local tier, and its invalidator.
pub(crate) struct Shop {
    pub(crate) url: String,
    pub(crate) namespace: String,
    local: Vec<Cache<u64, User>>,
    shared: Vec<Cache<u64, User>>,
    log: ScriptedSource,
    cdc: CdcHandle,
    missed: AtomicU64,
}

impl Shop {
    pub(crate) async fn open(caches: u64) -> Self {
        let (url, namespace) = (shared_cluster().await, unique::namespace());
        // Two stores, as two processes have them.
        let stores = [connect(&url, &namespace).await, connect(&url, &namespace).await];
        let local: Vec<_> = (0..caches).map(|number| cache(&stores[0], number, true)).collect();
        let shared = (0..caches).map(|number| cache(&stores[1], number, false)).collect();
        let log = ScriptedSource::new("scale");
        let mut cdc = Cdc::new(log.clone());
        for cache in &local {
            cdc = cdc.bind(cache);
        }
        let cdc = cdc.spawn().expect("an invalidator");
        cdc.ready().await.expect("the invalidator runs");
        Self { url, namespace, local, shared, log, cdc, missed: AtomicU64::new(0) }
    }

    pub(crate) async fn close(self) {
        self.cdc.shutdown().await;
    }

    /// Loads the keys with these numbers into both tiers; number `n` is in cache `n % caches`.
    pub(crate) async fn fill(&self, numbers: std::ops::Range<u64>) {
        let count = self.local.len();
        let mut tasks = JoinSet::new();
        for (number, cache) in self.local.iter().enumerate() {
            let mut keys = numbers.clone().skip(number).step_by(count);
            let cache = cache.clone();
            tasks.spawn(async move {
                loop {
                    let chunk: Vec<u64> = keys.by_ref().take(200).collect();
                    if chunk.is_empty() {
                        break;
                    }
                    cache.get_many(&chunk).await.expect("values");
                }
            });
            if tasks.len() >= 8 {
                tasks.join_next().await;
            }
        }
        tasks.join_all().await;
    }

    pub(crate) async fn read_local(&self, keys: u64) -> Cost {
        let loads: u64 = self.local.iter().map(|cache| cache.stats().hits_shared).sum();
        let cost = read(&self.local, keys).await;
        let shared: u64 = self.local.iter().map(|cache| cache.stats().hits_shared).sum();
        assert!(shared - loads < READS / 100, "reads of the process-local tier are hits in it");
        cost
    }

    pub(crate) async fn read_shared(&self, keys: u64) -> Cost {
        read(&self.shared, keys).await
    }

    /// Reads keys that were never read before.
    pub(crate) async fn miss(&self) -> Cost {
        let begun = Begun::now();
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let first = UNUSED + self.missed.fetch_add(MISSES / TASKS, Ordering::Relaxed);
            let caches = self.shared.clone();
            tasks.spawn(async move {
                for key in first..first + MISSES / TASKS {
                    read_row(&caches, key).await;
                }
            });
        }
        tasks.join_all().await;
        begun.each(MISSES)
    }

    /// Changes rows in batches; ends when all of it is applied.
    pub(crate) async fn invalidate(&self, keys: u64) -> Cost {
        let caches = self.local.len() as u64;
        let batch = |number: u64| {
            let rows = (0..BATCH).map(move |row| (number * BATCH + row) % keys);
            rows.map(move |key| update(key % caches, key)).collect()
        };
        let batches: Vec<Vec<Change>> = (0..BATCHES).map(batch).collect();
        let begun = Begun::now();
        for changes in batches {
            self.log.commit(changes);
        }
        self.settle().await;
        begun.each(INVALIDATED)
    }

    /// Flushes every cache.
    pub(crate) async fn flush(&self) -> Cost {
        let begun = Begun::now();
        for _ in 0..FLUSHES {
            self.log.commit([Change::Tables { tables: Vec::new(), reason: "a measured flush".to_owned() }]);
            self.settle().await;
        }
        begun.each(FLUSHES)
    }

    /// Counts what heartbeats cost while nothing else happens, and the commands of all servers for one.
    pub(crate) async fn beat(&self) -> (Cost, f64) {
        let (cpu, commands) = (cpu_seconds(), self.commands().await);
        // sleep: heartbeats are counted for this time.
        tokio::time::sleep(QUIET).await;
        let cost = Cost { cpu: 1e6 * (cpu_seconds() - cpu) / BEATS_COUNTED, time: None };
        (cost, (self.commands().await - commands) as f64 / BEATS_COUNTED)
    }

    async fn settle(&self) {
        settle(&self.log, &self.cdc).await;
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
}

/// When a measurement began.
struct Begun {
    cpu: f64,
    at: Instant,
}

impl Begun {
    fn now() -> Self {
        Self { cpu: cpu_seconds(), at: Instant::now() }
    }

    /// The cost of each of `count` operations since then.
    fn each(&self, count: u64) -> Cost {
        let [cpu, time] =
            [cpu_seconds() - self.cpu, self.at.elapsed().as_secs_f64()].map(|all| 1e6 * all / count as f64);
        Cost { cpu, time: Some(time) }
    }
}

/// Connects to the cluster.
pub(crate) async fn connect(url: &str, namespace: &str) -> RedisStore {
    RedisStore::builder(url).namespace(namespace).connect().await.expect("a cluster")
}

/// Builds one of the caches.
pub(crate) fn cache(store: &RedisStore, number: u64, local: bool) -> Cache<u64, User> {
    let hour = Duration::from_secs(3_600);
    let builder = Cache::builder(&format!("cache-{number}")).shared(store.clone()).ttl(10 * hour);
    let builder = if local { builder.local(Local::max_weight(4 << 30).ttl(10 * hour)) } else { builder };
    builder
        .loader(loader_fn(async |id: u64| Ok::<_, std::io::Error>(Some(User::new(id)))))
        .depends_on_columns(&table(number), &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache")
}

/// Reads a key from its cache.
async fn read_row(caches: &[Cache<u64, User>], key: u64) -> User {
    caches[(key % caches.len() as u64) as usize].get(&key).await.expect("a value").expect("a row")
}

async fn read(caches: &[Cache<u64, User>], keys: u64) -> Cost {
    let begun = Begun::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (caches, mut drawn) = (caches.to_vec(), Keys::new(task + 1, keys));
        tasks.spawn(async move {
            for _ in 0..READS / TASKS {
                let key = drawn.draw();
                assert_eq!(read_row(&caches, key).await.id, key);
            }
        });
    }
    tasks.join_all().await;
    begun.each(READS)
}

fn table(cache: u64) -> String {
    format!("scale.table_{cache}")
}

fn update(cache: u64, key: u64) -> Change {
    let row = || Some(RowImage::from_pairs([("id", Value::UInt(key))]));
    let table = TableName::from(&*table(cache));
    Change::Row(RowChange { table, operation: Operation::Update, before: row(), after: row() })
}
