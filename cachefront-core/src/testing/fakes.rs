//! Clocks for tests: one that a test advances, and one that follows tokio's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, Sleep, Timestamp};

/// A clock that moves only when a test advances it. A clone is the same clock.
///
/// A [`sleep`](Clock::sleep) completes when the clock has been advanced to its end.
///
/// ```
/// use std::time::Duration;
/// use cachefront::Clock;
/// use cachefront::testing::ManualClock;
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3));
/// assert_eq!(clock.now().since(before), Duration::from_secs(3));
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Number of sleeps in progress, for tests that must not advance the clock before a task sleeps.
    sleeping: watch::Sender<usize>,
}

struct State {
    now: Timestamp,
    /// Ordered by the time they end at, then by the order they began in.
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    begun: u64,
}

impl ManualClock {
    /// Creates a clock at a fixed, known time (2001-09-09 01:46:40 UTC).
    pub fn new() -> Self {
        Self::at(Timestamp::from_micros(1_000_000_000_000_000))
    }

    /// Creates a clock at the time `now`.
    pub fn at(now: Timestamp) -> Self {
        let state = State { now, sleepers: BTreeMap::new(), begun: 0 };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), sleeping: watch::Sender::new(0) }) }
    }

    /// Advances the clock, and completes the sleeps that end by then, in the order of their ends.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.shared.lock();
        state.now = state.now.after(duration);
        let now = state.now;
        while let Some(first) = state.sleepers.first_entry()
            && first.key().0 <= now
        {
            // The receiver is gone if the sleep was dropped.
            let _ = first.remove().send(());
        }
        self.shared.count(&state);
    }

    /// Waits until at least `count` sleeps are in progress.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn sleeping(&self, count: usize) {
        let mut sleeping = self.shared.sleeping.subscribe();
        // This clock holds the sender, so it cannot be gone.
        let _ = sleeping.wait_for(|&now| now >= count).await;
    }
}

/// A clock over tokio's time: with a paused runtime (`start_paused`) it advances only when every task waits, so a test that
/// spans minutes is fast and repeatable.
#[derive(Clone, Debug)]
pub struct TokioClock {
    began: tokio::time::Instant,
}

impl TokioClock {
    /// Creates a clock that starts at a fixed, known time (2001-09-09 01:46:40 UTC). Requires a tokio runtime.
    pub fn new() -> Self {
        Self { began: tokio::time::Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_000_000_000_000_000).after(self.began.elapsed())
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, state: &State) {
        self.sleeping.send_replace(state.sleepers.len());
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.shared.lock().now
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let (sender, ended) = oneshot::channel();
        let mut state = self.shared.lock();
        state.begun += 1;
        let place = (state.now.after(duration), state.begun);
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        state.sleepers.insert(place, sender);
        self.shared.count(&state);
        let sleeper = Sleeper { shared: Arc::clone(&self.shared), place };
        Box::pin(async move {
            // A missing sender has been used: the clock never drops one.
            let _ = ended.await;
            drop(sleeper);
        })
    }
}

/// Removes its sleep when it is dropped, so that an abandoned sleep is not counted.
struct Sleeper {
    shared: Arc<Shared>,
    place: (Timestamp, u64),
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.sleepers.remove(&self.place).is_some() {
            self.shared.count(&state);
        }
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("ManualClock").field("now", &state.now).field("sleepers", &state.sleepers.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_ends_when_the_clock_reaches_its_end() {
        let clock = ManualClock::new();
        let sleep = tokio::spawn(clock.sleep(Duration::from_secs(2)));
        clock.sleeping(1).await;
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.shared.lock().sleepers.len(), 1);
        clock.advance(Duration::from_secs(1));
        sleep.await.expect("the sleep ends");
        drop(clock.sleep(Duration::from_secs(1)));
        assert_eq!(clock.shared.lock().sleepers.len(), 0, "an abandoned sleep is removed");
    }
}
