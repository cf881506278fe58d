//! Readers and a writer that work while something is broken under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cachefront::Cache;
use cachefront_testkit::shop::Shop;
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;

/// Readers of all rows, until they are stopped.
pub(crate) struct Readers {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    errors: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(crate) fn start(cache: &Cache<u64, u64>, rows: u64, count: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (reads, errors) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..count)
            .map(|task| {
                let (cache, stop) = (cache.clone(), Arc::clone(&stop));
                let (reads, errors) = (Arc::clone(&reads), Arc::clone(&errors));
                tokio::spawn(async move {
                    let mut id = task * rows / count;
                    while !stop.load(Ordering::Relaxed) {
                        id = id % rows + 1;
                        match cache.get(&id).await {
                            Ok(_) => reads.fetch_add(1, Ordering::Relaxed),
                            Err(_) => errors.fetch_add(1, Ordering::Relaxed),
                        };
                        // A hit in this process never waits: let others have the core.
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        Self { stop, reads, errors, tasks }
    }

    /// Reads answered so far.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Stops them; answers reads and errors.
    pub(crate) async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a reader ends in peace");
        }
        (self.reads.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed))
    }
}

/// Updates all rows again and again, ten to a commit, until `updates` rows have been updated.
pub(crate) fn write(shop: &Shop, rows: u64, updates: u64) -> (JoinHandle<()>, Arc<AtomicU64>) {
    let (pool, done) = (shop.pool.clone(), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&done);
    let task = tokio::spawn(async move {
        let mut conn = pool.get_conn().await.expect("a connection");
        let mut first = 1;
        while counter.load(Ordering::SeqCst) < updates {
            conn.exec_drop("UPDATE item SET value = value + 1 WHERE id BETWEEN ? AND ?", (first, first + 9))
                .await
                .expect("rows are updated");
            counter.fetch_add(10, Ordering::SeqCst);
            first = (first + 9) % rows + 1;
        }
    });
    (task, done)
}
