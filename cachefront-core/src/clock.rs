//! Time and randomness, as seams: production uses the system's, tests their own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: microseconds since the Unix epoch. Zero means *unknown*.
///
/// Nothing that must be right depends on a timestamp: they bound staleness and leases, and order nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// No time is known.
    pub const UNKNOWN: Self = Self(0);

    /// The time that lies `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// True unless this is [`Timestamp::UNKNOWN`].
    pub const fn is_known(self) -> bool {
        self.0 != 0
    }

    /// The time that passed since `earlier`; zero if `earlier` lies in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The time that lies `duration` later.
    pub fn after(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// A future that a [`Clock`] completes when a time has passed.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The time, for everything that bounds staleness, leases and waits.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// The time at the last [`tick`](Clock::tick): cheap enough for every hit in the process-local tier.
    fn coarse(&self) -> Timestamp {
        self.now()
    }

    /// Brings [`coarse`](Clock::coarse) up to date. A cache with a process-local tier calls it every few milliseconds.
    fn tick(&self) {}

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The system's clock, and tokio's timer.
#[derive(Debug)]
pub struct SystemClock {
    coarse: AtomicU64,
}

impl SystemClock {
    /// A clock whose coarse time is now.
    pub fn new() -> Self {
        Self { coarse: AtomicU64::new(system_micros()) }
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

    fn tick(&self) {
        self.coarse.store(system_micros(), Ordering::Relaxed);
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn system_micros() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// Randomness, for lease tokens, generations and jitter.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// 128 random bits; tokens and generations must never repeat.
    fn random_u128(&self) -> u128;

    /// A number in `0.0..1.0`, for jitter.
    fn random_fraction(&self) -> f64 {
        // 53 bits are what an f64 holds exactly.
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
        // A system without a random source cannot make a token that is safe to use: there is nothing to fall back to.
        getrandom::fill(&mut bytes).expect("the operating system provides randomness");
        u128::from_be_bytes(bytes)
    }
}
