//! `redis_hit_throughput`, `redis_hit_cpu`, `get_many_50`: typed hits in Redis over the redis crate and `serde_json`.

use std::{sync::Arc, time::Instant};

use cachefront_testkit::{stack, unique};
use redis::aio::MultiplexedConnection;

use crate::ratio::{Plan, Ratio, alternate};
use crate::world::{Keys, User, World, cpu_seconds};

const KEYS: u64 = 10_000;
const TASKS: u64 = 64;
const READS_PER_TASK: usize = 2000;
const BATCH: usize = 50;
const BATCHES_PER_TASK: usize = 50;
const BATCH_TASKS: u64 = 16;

/// Operations per second, and microseconds of this process's CPU for each.
#[derive(Debug, Clone, Copy)]
struct Sample {
    throughput: f64,
    cpu: f64,
}

pub(crate) async fn measure(plan: Plan) -> Vec<Ratio> {
    let world = Arc::new(World::on_redis(User::new).await);
    world.warm(0..KEYS).await;
    let raw = Raw::fill().await;
    let before = world.loads();

    let reads = READS_PER_TASK * plan.scale;
    let single = alternate(
        plan,
        async || in_tasks(TASKS, reads, |keys| ours(Arc::clone(&world), keys, reads)).await,
        async || in_tasks(TASKS, reads, |keys| raw.clone().reads(keys, reads)).await,
    )
    .await;

    let batches = BATCHES_PER_TASK * plan.scale;
    let many = alternate(
        plan,
        async || in_tasks(BATCH_TASKS, batches, |keys| ours_many(Arc::clone(&world), keys, batches)).await,
        async || in_tasks(BATCH_TASKS, batches, |keys| raw.clone().batches(keys, batches)).await,
    )
    .await;

    assert_eq!(world.loads(), before, "a read that was measured as a hit was loaded");
    let by = |of: fn(&Sample) -> f64| single.iter().map(|(ours, raw)| (of(ours), of(raw))).collect();
    vec![
        Ratio::new("redis_hit_throughput", "reads per second", by(|sample| sample.throughput)),
        Ratio::new("redis_hit_cpu", "µs of CPU per read", by(|sample| sample.cpu)),
        Ratio::new(
            "get_many_50",
            "calls per second",
            many.iter().map(|(ours, raw)| (ours.throughput, raw.throughput)).collect(),
        ),
    ]
}

/// Runs `tasks` tasks of `operations` each at the same time.
async fn in_tasks<F, Fut>(tasks: u64, operations: usize, task: F) -> Sample
where
    F: Fn(Keys) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (cpu, started) = (cpu_seconds(), Instant::now());
    let running: Vec<_> = (0..tasks).map(|number| tokio::spawn(task(Keys::new(number + 1, KEYS)))).collect();
    for task in running {
        task.await.expect("the task ends without a panic");
    }
    let operations = operations as f64 * tasks as f64;
    Sample { throughput: operations / started.elapsed().as_secs_f64(), cpu: 1e6 * (cpu_seconds() - cpu) / operations }
}

async fn ours(world: Arc<World<User>>, mut keys: Keys, reads: usize) {
    for _ in 0..reads {
        let key = keys.draw();
        let user = world.cache.get(&key).await.expect("a value").expect("a row");
        assert_eq!(user.id, key);
    }
}

async fn ours_many(world: Arc<World<User>>, mut keys: Keys, batches: usize) {
    for _ in 0..batches {
        let batch: Vec<u64> = (0..BATCH).map(|_| keys.draw()).collect();
        let users = world.cache.get_many(&batch).await.expect("values");
        assert!(users.iter().zip(&batch).all(|(user, key)| user.as_ref().is_some_and(|user| user.id == *key)));
    }
}

/// The redis crate as its documentation shows it, with the same rows under keys of its own.
#[derive(Clone)]
struct Raw {
    connection: MultiplexedConnection,
    prefix: String,
}

impl Raw {
    async fn fill() -> Self {
        let client = redis::Client::open(stack::redis_url()).expect("the URL of Redis is well-formed");
        let mut connection = client.get_multiplexed_async_connection().await.expect("the stack's Redis replies");
        let prefix = unique::name("raw");
        for id in 0..KEYS {
            let json = serde_json::to_vec(&User::new(id)).expect("a user is JSON");
            let () = redis::cmd("SET")
                .arg(format!("{prefix}:{id}"))
                .arg(json)
                .arg("EX")
                .arg(3600)
                .query_async(&mut connection)
                .await
                .expect("a reply");
        }
        Self { connection, prefix }
    }

    async fn reads(mut self, mut keys: Keys, reads: usize) {
        for _ in 0..reads {
            let key = keys.draw();
            let mut command = redis::cmd("GET");
            command.arg(format!("{}:{key}", self.prefix));
            let json: Vec<u8> = command.query_async(&mut self.connection).await.expect("a reply");
            let user: User = serde_json::from_slice(&json).expect("a user");
            assert_eq!(user.id, key);
        }
    }

    async fn batches(mut self, mut keys: Keys, batches: usize) {
        for _ in 0..batches {
            let batch: Vec<u64> = (0..BATCH).map(|_| keys.draw()).collect();
            let mut command = redis::cmd("MGET");
            for key in &batch {
                command.arg(format!("{}:{key}", self.prefix));
            }
            let rows: Vec<Vec<u8>> = command.query_async(&mut self.connection).await.expect("a reply");
            for (json, key) in rows.iter().zip(&batch) {
                let user: User = serde_json::from_slice(json).expect("a user");
                assert_eq!(user.id, *key);
            }
        }
    }
}
