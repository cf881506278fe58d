//! Time and randomness behind traits: production uses the system's, tests use their own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: microseconds since the Unix epoch. Zero means *unknown*.
///
/// Correctness never depends on a timestamp: timestamps bound staleness and leases, and are not used for ordering.
///
/// ```
/// use std::time::Duration;
/// use cachefront::Timestamp;
///
/// let start = Timestamp::from_micros(1_000_000);
/// let end = start.after(Duration::from_millis(3));
/// assert_eq!(end.since(start), Duration::from_millis(3));
/// assert!(!Timestamp::UNKNOWN.is_known());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time is not known.
    pub const UNKNOWN: Self = Self(0);

    /// Returns the time `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Returns true unless this is [`Timestamp::UNKNOWN`].
    pub const fn is_known(self) -> bool {
        self.0 != 0
    }

    /// Returns the time that passed since `earlier`; zero if `earlier` is in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time that is `duration` later.
    pub fn after(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// A future that a [`Clock`] completes after a duration.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The source of time for staleness bounds, leases and waits.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Returns the time of the last [`tick`](Clock::tick): cheap enough for every hit in the process-local tier.
    ///
    /// Default: [`now`](Clock::now).
    fn coarse(&self) -> Timestamp {
        self.now()
    }

    /// Returns the cell that [`coarse`](Clock::coarse) reads, in microseconds since the Unix epoch, so that a hit reads it without
    /// a call. A clock that returns one updates it in [`tick`](Clock::tick), and returns the same one every time.
    ///
    /// Default: `None`; then [`coarse`](Clock::coarse) is called.
    fn coarse_cell(&self) -> Option<Arc<AtomicU64>> {
        None
    }

    /// Updates [`coarse`](Clock::coarse). A cache with a process-local tier calls it every few milliseconds.
    ///
    /// Default: has no effect.
    fn tick(&self) {}

    /// Returns true if [`now`](Clock::now) follows real time on every thread. Then a thread of the process ticks the
    /// process-local tiers, so that they end what is too old also while no runtime runs their tasks. Else a task of the cache's
    /// runtime does, which waits by [`sleep`](Clock::sleep): a clock that a test moves has its ticks where the test expects them.
    ///
    /// A clock that wraps [`SystemClock`] returns what it returns:
    ///
    /// ```
    /// use cachefront::clock::{Clock, Sleep, SystemClock, Timestamp};
    ///
    /// /// The system's clock, an hour late.
    /// #[derive(Debug, Default)]
    /// struct Late(SystemClock);
    ///
    /// impl Clock for Late {
    ///     fn now(&self) -> Timestamp {
    ///         Timestamp::from_micros(self.0.now().as_micros() - 3_600_000_000)
    ///     }
    ///
    ///     fn is_real_time(&self) -> bool {
    ///         self.0.is_real_time()
    ///     }
    ///
    ///     fn sleep(&self, duration: std::time::Duration) -> Sleep {
    ///         self.0.sleep(duration)
    ///     }
    /// }
    ///
    /// assert!(Late::default().is_real_time());
    /// ```
    ///
    /// Default: `false`.
    fn is_real_time(&self) -> bool {
        false
    }

    /// Returns a future that completes after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The system's clock, and tokio's timer.
#[derive(Debug)]
pub struct SystemClock {
    coarse: Arc<AtomicU64>,
}

impl SystemClock {
    /// Creates a clock whose coarse time is the current time.
    pub fn new() -> Self {
        Self { coarse: Arc::new(AtomicU64::new(system_micros())) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(system_micros())
    }

    fn coarse(&self) -> Timestamp {
        Timestamp(self.coarse.load(Ordering::Relaxed))
    }

    fn coarse_cell(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.coarse))
    }

    fn tick(&self) {
        self.coarse.store(system_micros(), Ordering::Relaxed);
    }

    fn is_real_time(&self) -> bool {
        true
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Measures how long a wait has taken. A clock that is set back hides no more than the time since the last reading, so it does not
/// prolong a wait that reads the clock in each round.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    last: Timestamp,
    passed: Duration,
}

impl Stopwatch {
    pub(crate) fn begin(clock: &dyn Clock) -> Self {
        Self { last: clock.now(), passed: Duration::ZERO }
    }

    /// Reads the clock, and returns the time that has passed.
    pub(crate) fn passed(&mut self, clock: &dyn Clock) -> Duration {
        let now = clock.now();
        self.passed = self.passed.saturating_add(now.since(self.last));
        self.last = now;
        self.passed
    }
}

/// The coarse time of a clock, for hits in the process-local tier.
#[derive(Clone, Debug)]
pub(crate) enum CoarseClock {
    Cell(Arc<AtomicU64>),
    Clock(Arc<dyn Clock>),
}

impl CoarseClock {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        clock.coarse_cell().map_or_else(|| Self::Clock(Arc::clone(clock)), Self::Cell)
    }

    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::Cell(micros) => Timestamp(micros.load(Ordering::Relaxed)),
            Self::Clock(clock) => clock.coarse(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn system_micros() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// The source of randomness for lease tokens, generations and jitter.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Returns 128 random bits. Tokens and generations must never repeat.
    fn random_u128(&self) -> u128;

    /// Returns a number in `0.0..1.0`, for jitter.
    fn random_fraction(&self) -> f64 {
        // An f64 holds 53 bits exactly.
        let bits = (self.random_u128() as u64) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

/// The operating system's randomness.
#[derive(Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn random_u128(&self) -> u128 {
        let mut bytes = [0_u8; 16];
        // Without a random source no token is safe to use, so there is no fallback.
        getrandom::fill(&mut bytes).expect("the operating system provides randomness");
        u128::from_be_bytes(bytes)
    }

    fn random_fraction(&self) -> f64 {
        // Jitter needs no secrecy: a generator of the process spares a call of the system.
        fastrand::f64()
    }
}
