//! Virtual time, and the clocks that processes read it from.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cachefront_core::clock::Sleep;
use cachefront_core::{Clock, Timestamp};
use tokio::time::Instant;

/// What every world's time begins at, in microseconds since the Unix epoch.
const BEGIN_MICROS: i64 = 1_700_000_000_000_000;

/// A moment of the world's true time, in microseconds since its begin.
pub(crate) type Moment = u64;

/// It never comes.
pub(crate) const NEVER: Moment = u64::MAX;

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets virtual time pass. The runtime's clock is paused: no task waits in real time.
pub(crate) fn pass(duration: Duration) -> tokio::time::Sleep {
    // sleep: it moves virtual time, which is what the world runs on.
    tokio::time::sleep(duration)
}

/// The world's true time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(Instant);

impl Time {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        self.0.elapsed().as_micros() as u64
    }

    pub(crate) async fn reach(self, moment: Moment) {
        let now = self.now();
        if moment > now {
            pass(Duration::from_micros(moment - now)).await;
        }
    }
}

/// A process's clock, which may differ from the true time.
#[derive(Debug)]
pub(crate) struct WorldClock {
    time: Time,
    /// How far it is ahead, in microseconds.
    offset: AtomicI64,
}

impl WorldClock {
    pub(crate) fn new(time: Time, offset: i64) -> Self {
        Self { time, offset: AtomicI64::new(offset) }
    }

    /// Steps the clock.
    pub(crate) fn set(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }
}

/// What a clock that is `offset` microseconds ahead shows.
pub(crate) fn shown(now: Moment, offset: i64) -> Timestamp {
    Timestamp::from_micros((BEGIN_MICROS + now as i64 + offset).max(1) as u64)
}

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        shown(self.time.now(), self.offset.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(pass(duration))
    }
}
