//! Readers that work while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cachefront::{Cache, Tier};
use tokio::task::JoinHandle;

/// What readers have seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Reads that returned a value or the row's absence.
    pub done: u64,
    /// Those of them that no load was needed for.
    pub hits: u64,
    /// Reads that failed.
    pub errors: u64,
}

impl Reads {
    /// The share of reads that needed no load.
    pub fn hit_ratio(&self) -> f64 {
        self.hits as f64 / self.done as f64
    }
}

#[derive(Debug, Default)]
struct Counters {
    stop: AtomicBool,
    done: AtomicU64,
    hits: AtomicU64,
    errors: AtomicU64,
}

/// Readers of the rows `1..=rows`, until they are stopped.
#[derive(Debug)]
pub struct Readers {
    counters: Arc<Counters>,
    tasks: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts `count` readers that read without a pause.
    pub fn start(cache: &Cache<u64, u64>, rows: u64, count: u64) -> Self {
        Self::paced(cache, rows, count, Duration::ZERO)
    }

    /// Starts `count` readers that pause after each read.
    pub fn paced(cache: &Cache<u64, u64>, rows: u64, count: u64, pause: Duration) -> Self {
        let counters = Arc::new(Counters::default());
        let start = |task| tokio::spawn(read(cache.clone(), Arc::clone(&counters), task * rows / count, rows, pause));
        let tasks = (0..count).map(start).collect();
        Self { counters, tasks }
    }

    /// What they have seen so far.
    pub fn seen(&self) -> Reads {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { done, hits, errors, .. } = &*self.counters;
        Reads { done: read(done), hits: read(hits), errors: read(errors) }
    }

    /// Stops them, and returns what they have seen.
    ///
    /// # Panics
    /// If a reader panicked.
    pub async fn stop(mut self) -> Reads {
        self.counters.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            task.await.expect("a reader ends without a panic");
        }
        self.seen()
    }
}

async fn read(cache: Cache<u64, u64>, counters: Arc<Counters>, first: u64, rows: u64, pause: Duration) {
    let mut id = first;
    while !counters.stop.load(Ordering::Relaxed) {
        id = id % rows + 1;
        match cache.get(&id).detailed().await {
            Ok(hit) => {
                counters.done.fetch_add(1, Ordering::Relaxed);
                counters.hits.fetch_add(u64::from(hit.tier != Tier::Database), Ordering::Relaxed);
            }
            Err(_) => {
                counters.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        if pause.is_zero() {
            // A hit in this process never waits: this lets other tasks have the core.
            tokio::task::yield_now().await;
        } else {
            // sleep: paces the reader; nothing is waited for.
            tokio::time::sleep(pause).await;
        }
    }
}
