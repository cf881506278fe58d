//! The law of the instant: the meta and the entry of a reading are from one instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::StoreFixture;
use super::harness::{LONG, Readers, START, StoreHarness, header, key, token};
use crate::entry::Entry;
use crate::store::{FillReply, Generation, InvalidationMode, LeaseReply, Reading};

/// Minimum number of batches.
const ROUNDS: u64 = 300;

/// Minimum duration: a store in memory applies the batches very quickly, and readers must run between two steps.
const HAMMERED: Duration = Duration::from_millis(500);

/// Minimum number of entries that are filled, and that are read.
const ENOUGH: u64 = 200;

/// Number of rounds between two flushes.
const FLUSH_EVERY: u64 = 10;

#[derive(Default)]
struct Seen {
    done: AtomicBool,
    filled: AtomicU64,
    found: AtomicU64,
}

impl Seen {
    fn enough(&self) -> bool {
        self.filled.load(Ordering::Relaxed) >= ENOUGH && self.found.load(Ordering::Relaxed) >= ENOUGH
    }
}

/// Readers and loaders use one key while batches and flushes are applied to it. An entry is filled with the high watermark at
/// its grant, and removed before a later order is applied; so at every instant its order is not below the applied one, and
/// its generation not above the current one. A reading of two instants violates one or the other.
pub(super) async fn meta_and_entry_are_of_one_instant(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::bare(fixture).await;
    // Generations count up here, so that readers can tell which one is later.
    harness.flush_to(Generation(1), START).await;
    let seen = Arc::new(Seen::default());
    let loading = tokio::spawn(load(harness.readers(), Arc::clone(&seen)));
    let reading = tokio::spawn(read(harness.readers(), Arc::clone(&seen)));
    let written = tokio::time::timeout(LONG, write(&mut harness, &seen)).await;
    seen.done.store(true, Ordering::Release);
    loading.await.expect("loaders find no violation");
    reading.await.expect("readers find no violation");
    written.expect("enough rounds in time for a meaningful result");
}

async fn write(harness: &mut StoreHarness, seen: &Seen) {
    let begun = Instant::now();
    let mut applied = START;
    for round in 1.. {
        let order = START + round;
        let held = harness.held(applied);
        harness.writer.raise_high_watermark(&held, order).await.expect("the high watermark is raised");
        if round.is_multiple_of(2) {
            harness.invalidate_unseen(&[1]).await;
        } else {
            harness.invalidate(&[1]).await;
        }
        harness.commit(applied, order).await;
        applied = order;
        if round.is_multiple_of(FLUSH_EVERY) {
            let next = Generation(harness.generation.0 + 1);
            harness.flush_to(next, order).await;
        }
        // A reader that found an error has ended: do not wait for it.
        let proven = round >= ROUNDS && begun.elapsed() >= HAMMERED && seen.enough();
        if proven || seen.done.load(Ordering::Acquire) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Ends the writer's rounds when a task ends, also if it panics.
struct End(Arc<Seen>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release);
    }
}

async fn load(store: Readers, seen: Arc<Seen>) {
    let seen = End(seen);
    while !seen.0.done.load(Ordering::Acquire) {
        let mine = token();
        if let LeaseReply::Granted { meta: Some(meta), .. } = store.lease(1, mine).await {
            let filled = header(InvalidationMode::Cdc, meta.generation, meta.high_watermark);
            let reply = store.fill_with(1, mine, &filled, LONG).await;
            seen.0.filled.fetch_add(u64::from(reply == FillReply::Stored), Ordering::Relaxed);
        }
        tokio::task::yield_now().await;
    }
}

async fn read(store: Readers, seen: Arc<Seen>) {
    let seen = End(seen);
    while !seen.0.done.load(Ordering::Acquire) {
        let mut readings = store.store.get_many(&[key(1), key(1)]).await.expect("readings");
        readings.push(store.read(1).await);
        let found = readings.iter().filter(|reading| check(reading)).count();
        seen.0.found.fetch_add(found as u64, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

fn check(reading: &Reading) -> bool {
    let meta = reading.meta.as_ref().expect("a meta");
    let Some(entry) = &reading.entry else {
        return false;
    };
    let header = Entry::decode(entry.clone()).expect("an entry").header;
    assert!(header.generation.0 <= meta.generation.0, "the entry has a later generation than the meta");
    if header.order == 0 || header.generation != meta.generation {
        return false;
    }
    assert!(header.order >= meta.applied_order, "the entry should have been removed before this meta was written");
    true
}
