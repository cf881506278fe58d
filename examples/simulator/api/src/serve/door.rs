//! Who is connected, and who makes way when there are too many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Stands for "not waiting".
const AT_WORK: u64 = u64::MAX;

/// What is known of a connection.
#[derive(Debug, Default)]
struct State {
    /// Since when nothing is done for it, in ms since the door was opened: it waits for a request, or for the rest of
    /// one. [`AT_WORK`] while a request is answered.
    waiting_since: AtomicU64,
    dismissed: CancellationToken,
}

/// One connection. It leaves by being dropped.
#[derive(Debug)]
pub(super) struct Guest {
    door: Arc<Door>,
    number: u64,
    state: Arc<State>,
}

impl Guest {
    /// A request has arrived whole: until it is answered nobody may end this connection.
    pub(super) fn engage(&self) {
        self.state.waiting_since.store(AT_WORK, Ordering::Relaxed);
    }

    /// The answer is given.
    pub(super) fn rest(&self) {
        self.state.waiting_since.store(self.door.now_ms(), Ordering::Relaxed);
    }

    /// Completes when it has to make way.
    pub(super) async fn dismissed(&self) {
        self.state.dismissed.cancelled().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.door.guests().remove(&self.number);
    }
}

/// Everybody who is connected to one address.
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

    /// Takes one more in. If that is one too many, whoever has waited longest makes way; nothing if all are at work.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Guest> {
        if self.guests().len() >= self.guests_max && !self.dismiss_one() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State { waiting_since: AtomicU64::new(self.now_ms()), ..State::default() });
        self.guests().insert(number, Arc::clone(&state));
        Some(Guest { door: Arc::clone(self), number, state })
    }

    /// Ends the connection that has waited longest. False if there is none that waits.
    pub(super) fn dismiss_one(&self) -> bool {
        let mut guests = self.guests();
        let waiting = guests.iter().map(|(number, state)| (state.waiting_since.load(Ordering::Relaxed), *number));
        let Some((_, number)) = waiting.min().filter(|(since, _)| *since != AT_WORK) else { return false };
        // Its place is free at once; its task ends a moment later.
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
    async fn whoever_has_waited_longest_makes_way_and_nobody_who_is_at_work() {
        let door = Door::new(3);
        let mut guests = Vec::new();
        for _ in 0..3 {
            guests.push(door.enter().expect("a place"));
            // sleep: each is to come at a time of its own, which is counted in milliseconds.
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
