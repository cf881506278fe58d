//! What happened to each write, hop by hop: from its commit to the first read here after it.
//!
//! The consumer reports when a change passed each part. This process adds when the invalidation arrived over the bus, from a
//! subscription of its own, and when the value of a read through its caches was first proven to contain the write. Both are measured
//! only while there are viewers; what was not measured says why.

mod follow;
mod hops;
#[cfg(test)]
mod tests;
mod write;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cachefront::bus::{BusEvent, BusMessage};
use cachefront::{Clock, Hit, Position, Result, Timestamp};

pub use self::hops::{Hop, HopName, WriteView};
use self::write::{Arrival, Change, Read, Span, Write};
use crate::viewers::Viewers;

/// Maximum number of writes that are kept, with about 1 KB each.
pub const WRITES_MAX: usize = 100;

/// Maximum number of invalidations that arrived before the event of their change, and of reads that ended before it.
const EARLY_MAX: usize = 256;

/// Maximum size of these invalidations together, in bytes: one message may name thousands of keys, and 256 small ones have about
/// 50 KB.
const EARLY_BYTES_MAX: usize = 1 << 20;

/// Maximum number of ranges of each server in the position of a read that is kept, with 16 bytes each. A position that lacks ranges
/// proves less, and nothing wrong.
const READ_RANGES_MAX: usize = 64;

/// Records writes.
#[derive(Debug)]
pub struct Writes {
    clock: Arc<dyn Clock>,
    viewers: Viewers,
    /// True while the bus is followed: reads are noted only then.
    watching: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The newest last.
    writes: VecDeque<Write>,
    arrivals: Arrivals,
    reads: VecDeque<Read>,
}

/// The last invalidations, the newest last.
#[derive(Debug, Default)]
struct Arrivals {
    all: VecDeque<Arrival>,
    /// The size of all of them.
    bytes: usize,
}

impl Arrivals {
    /// Adds one, and drops the oldest beyond [`EARLY_MAX`] and [`EARLY_BYTES_MAX`]. One that is larger by itself is not kept.
    fn keep(&mut self, arrival: Arrival) {
        let bytes = arrival.bytes();
        if bytes > EARLY_BYTES_MAX {
            return;
        }
        while self.all.len() >= EARLY_MAX || self.bytes + bytes > EARLY_BYTES_MAX {
            let Some(oldest) = self.all.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
        self.bytes += bytes;
        self.all.push_back(arrival);
    }
}

impl Writes {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, viewers: Viewers::default(), watching: AtomicBool::new(false), inner: Mutex::default() })
    }

    /// Who is watching: the bus and the reads are followed only while a client asks for writes.
    pub fn viewers(&self) -> &Viewers {
        &self.viewers
    }

    /// Returns the last writes, newest first.
    pub fn latest(&self, limit: usize) -> Vec<WriteView> {
        self.viewers.show();
        self.inner().writes.iter().rev().take(limit).map(Write::view).collect()
    }

    /// Returns the write of this transaction that has this key, `None` if it is not kept any more.
    pub fn find(&self, position: &str, key: &str) -> Option<WriteView> {
        self.viewers.show();
        let inner = self.inner();
        let is_it = |write: &&Write| {
            write.change.position == position && write.change.keys.first().map_or("", String::as_str) == key
        };
        inner.writes.iter().rev().find(is_it).map(Write::view)
    }

    /// A poisoned lock is usable: no code panics while it holds it.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, change: Change) {
        let mut write = Write::new(change, self.watching.load(Ordering::Relaxed));
        let mut inner = self.inner();
        inner.arrivals.all.iter().for_each(|arrival| write.heard(arrival));
        inner.reads.iter().for_each(|read| write.seen(read));
        keep(&mut inner.writes, write, WRITES_MAX);
    }

    fn arrived(&self, message: &BusMessage) {
        let BusEvent::Keys(keys) = &message.event else { return };
        if !message.sent_at.is_known() {
            return;
        }
        let arrival = Arrival { at: self.clock.now(), sent_at: message.sent_at, keys: keys.clone() };
        let mut inner = self.inner();
        inner.writes.iter_mut().for_each(|write| write.heard(&arrival));
        inner.arrivals.keep(arrival);
    }

    /// Awaits a read of a user by id, and notes which writes its value contains.
    ///
    /// # Errors
    /// Those of the read.
    pub async fn reading<V>(&self, id: u64, read: impl IntoFuture<Output = Result<Hit<V>>>) -> Result<Hit<V>> {
        let began = self.clock.now();
        let hit = read.await?;
        self.proven(id, began, hit.position.as_ref());
        Ok(hit)
    }

    /// Notes a read that has just ended, if its value is proven to contain anything.
    fn proven(&self, id: u64, began: Timestamp, position: Option<&Position>) {
        let Some(position) = position.filter(|_| self.watching.load(Ordering::Relaxed)) else { return };
        let mut position = position.clone();
        position.limit_ranges(READ_RANGES_MAX);
        self.note_read(Read { id, span: Span { began, ended: self.clock.now() }, position });
    }

    fn note_read(&self, read: Read) {
        let mut inner = self.inner();
        inner.writes.iter_mut().for_each(|write| write.seen(&read));
        keep(&mut inner.reads, read, EARLY_MAX);
    }

    fn set_watching(&self, watching: bool) {
        self.watching.store(watching, Ordering::Relaxed);
        if !watching {
            let mut inner = self.inner();
            inner.arrivals = Arrivals::default();
            inner.reads.clear();
        }
    }
}

/// Adds one, and drops the oldest beyond `max`.
fn keep<T>(all: &mut VecDeque<T>, one: T, max: usize) {
    if all.len() >= max {
        all.pop_front();
    }
    all.push_back(one);
}
