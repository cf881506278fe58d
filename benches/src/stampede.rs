//! `stampede_time`: 10,000 tasks that miss one key at once, over tokio's `OnceCell`; the load takes 20 ms on both sides.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cachefront::{Cache, Loader, Local, loader_fn};
use tokio::sync::OnceCell;

use crate::ratio::{Plan, Ratio, alternate};

const TASKS: usize = 10_000;
/// How long the one load takes.
pub(crate) const LOAD: Duration = Duration::from_millis(20);

pub(crate) async fn measure(plan: Plan) -> Vec<Ratio> {
    let rounds = alternate(plan, ours, raw).await;
    vec![Ratio::new("stampede_time", "ms", rounds)]
}

async fn ours() -> f64 {
    let loads = Arc::new(AtomicU64::new(0));
    let cache: Cache<u64, u64> = Cache::builder("stampede")
        .local(Local::max_weight(1 << 20))
        .ttl(Duration::from_secs(60))
        .loader(slow_loader(Arc::clone(&loads)))
        .build()
        .expect("a cache");
    let time = crowd(TASKS, 1, || {
        let cache = cache.clone();
        async move { cache.get(&1).await.expect("a value") }
    })
    .await;
    assert_eq!(loads.load(Ordering::Relaxed), 1, "one load for all");
    time
}

async fn raw() -> f64 {
    let cell = Arc::new(OnceCell::new());
    crowd(TASKS, 1, || {
        let cell = Arc::clone(&cell);
        async move {
            let load = async || {
                slow_load().await;
                1_u64
            };
            Some(*cell.get_or_init(load).await)
        }
    })
    .await
}

async fn slow_load() {
    // sleep: the load that is measured around takes this long.
    tokio::time::sleep(LOAD).await;
}

/// A loader that returns the key after [`LOAD`], and counts its loads.
pub(crate) fn slow_loader(loads: Arc<AtomicU64>) -> impl Loader<u64, u64> {
    loader_fn(move |id: u64| {
        loads.fetch_add(1, Ordering::Relaxed);
        async move {
            slow_load().await;
            Ok::<_, std::io::Error>(Some(id))
        }
    })
}

/// Runs a read in each of many tasks at once, and returns the milliseconds until all have the value.
pub(crate) async fn crowd<F, Fut>(tasks: usize, value: u64, read: F) -> f64
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<u64>> + Send + 'static,
{
    let started = Instant::now();
    let tasks: Vec<_> = (0..tasks).map(|_| tokio::spawn(read())).collect();
    for task in tasks {
        assert_eq!(task.await.expect("the task ends without a panic"), Some(value));
    }
    started.elapsed().as_secs_f64() * 1e3
}
