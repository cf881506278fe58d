//! Many tasks that ask for one absent key at once: milliseconds until all have it. Every contender loads it once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::ours::Ours;
use crate::times::{Failure, Payload, Times, payload};

const NAMES: [&str; 4] = ["cachefront", "once_cell", "quick_cache", "moka_future"];
const TASKS: usize = 10_000;

/// How long a load takes.
const LOAD: Duration = Duration::from_millis(20);

/// Loads so far, of all contenders but cachefront, which counts its own.
static LOADS: AtomicU64 = AtomicU64::new(0);

async fn load(id: u64) -> Payload {
    LOADS.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(LOAD).await;
    payload(id)
}

/// Starts the tasks, and waits for all.
async fn crowd<F>(task: impl Fn() -> F) -> Result<Duration, Failure>
where
    F: Future<Output = Option<Payload>> + Send + 'static,
{
    let began = Instant::now();
    let running: Vec<_> = (0..TASKS).map(|_| tokio::spawn(task())).collect();
    for task in running {
        task.await?.ok_or("a reader has no value")?;
    }
    Ok(began.elapsed())
}

/// Measures every contender with new keys. Who begins changes every round, and the first round does not count.
pub(crate) async fn measure(rounds: usize) -> Result<Times, Failure> {
    let ours = Ours::new(LOAD).await?;
    let quick = Arc::new(quick_cache::sync::Cache::<u64, Payload>::new(100));
    let moka = moka::future::Cache::<u64, Payload>::new(100);
    let mut times = Times::new("ms until all tasks have the value", &NAMES);
    for round in 0..=rounds {
        let id = round as u64;
        for turn in 0..NAMES.len() {
            let contender = (round + turn) % NAMES.len();
            let took =
                match NAMES[contender] {
                    "cachefront" => {
                        crowd(|| {
                            let cache = ours.cache.clone();
                            async move { cache.get(&id).await.ok().flatten().map(|row| row.0) }
                        })
                        .await?
                    }
                    "once_cell" => {
                        let cell = Arc::new(OnceCell::new());
                        crowd(|| {
                            let cell = Arc::clone(&cell);
                            async move { Some(cell.get_or_init(|| load(id)).await.clone()) }
                        })
                        .await?
                    }
                    "quick_cache" => crowd(|| {
                        let quick = Arc::clone(&quick);
                        async move { quick.get_or_insert_async(&id, async { Ok::<_, ()>(load(id).await) }).await.ok() }
                    })
                    .await?,
                    _ => {
                        crowd(|| {
                            let moka = moka.clone();
                            async move { Some(moka.get_with(id, load(id)).await) }
                        })
                        .await?
                    }
                };
            times.note(round, contender, took.as_secs_f64() * 1e3);
        }
    }
    let (loads, peers) = (LOADS.load(Ordering::Relaxed), (NAMES.len() as u64 - 1) * (rounds as u64 + 1));
    if loads != peers {
        return Err(format!("the peers loaded {loads} times, not {peers} times").into());
    }
    ours.stop().await;
    Ok(times)
}
