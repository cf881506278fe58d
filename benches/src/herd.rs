//! `stampede_two_processes_time`: 5,000 tasks in each of two processes that miss one key at once, over the time of the one load,
//! which takes 20 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachefront::redis::RedisStore;
use cachefront::{Cache, CacheBuilder, Cdc, Local, testing::ScriptedSource};
use cachefront_testkit::{stack, unique};

use crate::child::{Child, serve};
use crate::ratio::{Plan, Ratio};
use crate::stampede::{LOAD, crowd, slow_loader};

const TASKS: usize = 5_000;

pub(crate) async fn measure(plan: Plan) -> Vec<Ratio> {
    let (url, namespace) = (stack::redis_url(), unique::namespace());
    let cache = builder(&url, &namespace).await.loader(slow_loader(Arc::default())).build().expect("a cache");
    let cdc = Cdc::new(ScriptedSource::new("herd")).bind(&cache).spawn().expect("an invalidator");
    cdc.ready().await.expect("the invalidator runs");
    let mut processes = Vec::new();
    for _ in 0..2 {
        processes.push(Child::start(&["--herd", &url, &namespace]).await);
    }
    let mut rounds = Vec::new();
    // The first one does not count: connections are opened in it.
    for round in 0..=plan.rounds {
        for process in &mut processes {
            process.send(&round.to_string()).await;
        }
        let (mut loads, mut slowest) = (0, 0.0_f64);
        for process in &mut processes {
            let reply = process.line().await;
            let (count, time) = reply.split_once(' ').expect("a count and a time");
            loads += count.parse::<u64>().expect("a count");
            slowest = slowest.max(time.parse().expect("a time"));
        }
        assert_eq!(loads, 1, "one load for both processes");
        rounds.push((slowest, LOAD.as_secs_f64() * 1e3));
    }
    cdc.shutdown().await;
    rounds.remove(0);
    vec![Ratio::new("stampede_two_processes_time", "ms", rounds)]
}

/// Is one of the processes: reads the key of each line with all tasks at once, and replies with loads and milliseconds.
pub(crate) async fn run(url: &str, namespace: &str) {
    let loads = Arc::new(AtomicU64::new(0));
    let cache = builder(url, namespace).await.loader(slow_loader(Arc::clone(&loads))).build().expect("a cache");
    serve(async |key: &str| {
        let (key, before) = (key.parse::<u64>().expect("a key"), loads.load(Ordering::Relaxed));
        let time = crowd(TASKS, key, || {
            let cache = cache.clone();
            async move { cache.get(&key).await.expect("a value") }
        })
        .await;
        format!("{} {time}", loads.load(Ordering::Relaxed) - before)
    })
    .await;
}

async fn builder(url: &str, namespace: &str) -> CacheBuilder<u64, u64> {
    let store = RedisStore::builder(url).namespace(namespace).connect().await.expect("the stack's Redis replies");
    Cache::builder("herd")
        .shared(store)
        .local(Local::max_weight(1 << 20))
        .ttl(Duration::from_secs(60))
        .depends_on_columns("bench.herd", &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
}
