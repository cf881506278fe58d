//! Plain readers that note how old the values are which they get, and what loads the database gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachefront::Cache;
use cachefront_testkit::fleet::{Crowd, Ledger, ROWS, now};

/// Pause between two reads of one reader.
const PACE: Duration = Duration::from_millis(5);

/// What readers and loads of this process saw.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    reads: AtomicU64,
    errors: AtomicU64,
    oldest_us: AtomicU64,
    loads: AtomicU64,
    loading: AtomicU64,
    loads_at_once: AtomicU64,
}

/// A load in progress.
#[derive(Debug)]
pub(crate) struct Loading(Arc<Meter>);

impl Meter {
    /// Counts a load until the value is dropped.
    pub(crate) fn load(self: &Arc<Self>) -> Loading {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let loading = self.loading.fetch_add(1, Ordering::Relaxed) + 1;
        self.loads_at_once.fetch_max(loading, Ordering::Relaxed);
        Loading(Arc::clone(self))
    }

    /// What was seen since the last reset.
    pub(crate) fn report(&self, reset: bool) -> Crowd {
        let take = |count: &AtomicU64| match reset {
            true => count.swap(0, Ordering::Relaxed),
            false => count.load(Ordering::Relaxed),
        };
        Crowd {
            reads: take(&self.reads),
            errors: take(&self.errors),
            oldest_us: take(&self.oldest_us),
            loads: take(&self.loads),
            loads_at_once: take(&self.loads_at_once),
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.0.loading.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Begins to read `cache`, whose keys are ids plus `added`, from another row on for each reader.
pub(crate) fn read(meter: &Arc<Meter>, ledger: &Arc<Ledger>, cache: &Cache<u64, u64>, (added, reader): (u64, u64)) {
    let (meter, ledger, cache) = (Arc::clone(meter), Arc::clone(ledger), cache.clone());
    tokio::spawn(async move {
        let mut turn = reader;
        loop {
            turn += 1;
            let id = turn % ROWS + 1;
            let begun = now();
            match cache.get(&(id + added)).await {
                Ok(value) => {
                    let overwritten = value.and_then(|value| ledger.overwritten(id, value));
                    let age = overwritten.map_or(0, |at| begun.saturating_sub(at));
                    meter.oldest_us.fetch_max(age, Ordering::Relaxed);
                    meter.reads.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {
                    meter.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
            // sleep: the pace of the reads.
            tokio::time::sleep(PACE).await;
        }
    });
}
