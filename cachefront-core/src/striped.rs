//! A counter that many threads add to at the same time.
//!
//! Threads that add to one atomic number pass its cache line to and fro, which costs each of them more than the addition. Here
//! every thread adds to one of a few numbers, each in a cache line of its own, and a reader adds them up: the idea of
//! `LongAdder` in Java, and of Lea's [`Striped64`](https://gee.cs.oswego.edu/dl/concurrency-interest/).

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Number of stripes: a power of two, enough for the threads of a runtime that read one cache at the same time.
const STRIPES: usize = 8;

/// Two cache lines: neighbouring lines are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// A counter that many threads add to at the same time.
#[derive(Debug, Default)]
pub(crate) struct Striped(Box<[Stripe; STRIPES]>);

impl Striped {
    pub(crate) fn add(&self, by: u64) {
        self.0[stripe() % STRIPES].0.fetch_add(by, Ordering::Relaxed);
    }

    /// Returns the count: exact once no thread adds to it.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|stripe| stripe.0.store(0, Ordering::Relaxed));
    }
}

/// Returns the number of this thread's stripe. Threads are given stripes by turns.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        own.get().unwrap_or_else(|| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            own.set(Some(next));
            next
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_threads_added_is_counted_once() {
        let counter = Striped::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..100).for_each(|_| counter.add(2)));
            }
        });
        assert_eq!(counter.total(), 2 * 100 * 2 * STRIPES as u64);
        counter.clear();
        assert_eq!(counter.total(), 0);
    }
}
