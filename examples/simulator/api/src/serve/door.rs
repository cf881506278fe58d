//! The connection limiter: tracks the connections to one address and evicts an idle one when there are too many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Value of [`State::waiting_since`] while a request is served.
const AT_WORK: u64 = u64::MAX;

/// State of one connection.
#[derive(Debug, Default)]
struct State {
    /// When the connection became idle (waiting for a request or for the rest of one), in ms since the limiter was
    /// created. [`AT_WORK`] while a request is served.
    waiting_since: AtomicU64,
    dismissed: CancellationToken,
}

/// One tracked connection. Dropping it frees its slot.
#[derive(Debug)]
pub(super) struct Guest {
    door: Arc<Door>,
    number: u64,
    state: Arc<State>,
}

impl Guest {
    /// Marks the connection as busy: a complete request has arrived, so it is not evicted until the response is sent.
    pub(super) fn engage(&self) {
        self.state.waiting_since.store(AT_WORK, Ordering::Relaxed);
    }

    /// Marks the connection as idle: the response is sent.
    pub(super) fn rest(&self) {
        self.state.waiting_since.store(self.door.now_ms(), Ordering::Relaxed);
    }

    /// Completes when the connection is evicted.
    pub(super) async fn dismissed(&self) {
        self.state.dismissed.cancelled().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.door.guests().remove(&self.number);
    }
}

/// The connections to one address, and their limit.
#[derive(Debug)]
pub(super) struct Door {
    opened_at: Instant,
    next: AtomicU64,
    guests: Mutex<HashMap<u64, Arc<State>>>,
    guests_max: usize,
}

impl Door {
    pub(super) fn new(guests_max: usize) -> Arc<Self> {
        let opened_at = Instant::now();
        Arc::new(Self { opened_at, next: AtomicU64::new(0), guests: Mutex::default(), guests_max })
    }

    /// Registers a connection, and evicts the one that has been idle longest if the limit is reached. Returns `None` if
    /// all are busy.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Guest> {
        if self.guests().len() >= self.guests_max && !self.dismiss_one() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State { waiting_since: AtomicU64::new(self.now_ms()), ..State::default() });
        self.guests().insert(number, Arc::clone(&state));
        Some(Guest { door: Arc::clone(self), number, state })
    }

    /// Evicts the connection that has been idle longest. Returns false if none is idle.
    pub(super) fn dismiss_one(&self) -> bool {
        let mut guests = self.guests();
        let waiting = guests.iter().map(|(number, state)| (state.waiting_since.load(Ordering::Relaxed), *number));
        let Some((_, number)) = waiting.min().filter(|(since, _)| *since != AT_WORK) else { return false };
        // Its slot is free immediately; its task ends a moment later.
        if let Some(state) = guests.remove(&number) {
            state.dismissed.cancel();
        }
        true
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(AT_WORK - 1)
    }

    /// No code panics while it holds the lock.
    fn guests(&self) -> MutexGuard<'_, HashMap<u64, Arc<State>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_longest_idle_connection_is_closed_and_no_busy_one() {
        let door = Door::new(3);
        let mut guests = Vec::new();
        for _ in 0..3 {
            guests.push(door.enter().expect("a place"));
            // sleep: each connection needs its own arrival time, which has a resolution of milliseconds.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        guests[0].engage();
        let fourth = door.enter().expect("the second makes way");
        assert!(guests[1].dismissed().now_or_never().is_some());
        assert!(guests[0].dismissed().now_or_never().is_none() && guests[2].dismissed().now_or_never().is_none());
        fourth.engage();
        guests[2].engage();
        assert!(door.enter().is_none(), "all are at work");
        guests[0].rest();
        drop(fourth);
        let _fifth = door.enter().expect("one has left");
        assert!(guests[0].dismissed().now_or_never().is_none());
    }
}
