//! The circuit breaker: calls of a server that fails or is slow are refused at once, until a probe succeeds.
//!
//! | state | a call | becomes |
//! |---|---|---|
//! | closed | goes through and is counted | open, if too many failed or were slow |
//! | open | is refused, until the pause is over | half open, by the first call after the pause |
//! | half open | is refused: the probe is in progress | closed if the probe succeeds, else open for twice as long |
//!
//! A call in the closed state costs two readings of the clock, one of which its caller needs too, and one atomic addition to a
//! number that threads do not share.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge};

use crate::backoff::Backoff;
use crate::clock::{Clock, Entropy, Timestamp};
use crate::settings::BreakerSettings;
use crate::striped::Striped;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

/// A circuit breaker.
pub(crate) struct Breaker {
    /// What it guards, for logs.
    subject: Box<str>,
    settings: BreakerSettings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: AtomicU8,
    /// The window in two halves: one is being filled, and both count.
    halves: [Half; 2],
    /// The half that is being filled.
    current: AtomicUsize,
    /// When the next half begins, in µs.
    turn_at: AtomicU64,
    pause: Mutex<Pause>,
    /// 1 while calls are refused.
    is_open: Gauge,
    opened: Counter,
}

/// The calls of half a window.
#[derive(Default)]
struct Half {
    calls: Striped,
    failures: AtomicU32,
}

impl Half {
    fn clear(&self) {
        self.calls.clear();
        self.failures.store(0, Ordering::Relaxed);
    }
}

/// The pause of an open breaker.
struct Pause {
    backoff: Backoff,
    began: Timestamp,
    ends: Timestamp,
}

/// A call that went through. If it is dropped before its end, nothing is known of the server, unless it was slow by then.
#[must_use]
pub(crate) struct Call<'a> {
    breaker: &'a Breaker,
    began: Timestamp,
    is_probe: bool,
    ended: bool,
}

impl Breaker {
    pub(crate) fn new(
        subject: String,
        settings: BreakerSettings,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        (is_open, opened): (Gauge, Counter),
    ) -> Self {
        is_open.set(0.0);
        let backoff = Backoff::new(settings.open_min, settings.open_max);
        Self {
            subject: subject.into(),
            settings,
            clock,
            entropy,
            state: AtomicU8::new(CLOSED),
            halves: Default::default(),
            current: AtomicUsize::new(0),
            turn_at: AtomicU64::new(0),
            pause: Mutex::new(Pause { backoff, began: Timestamp::UNKNOWN, ends: Timestamp::UNKNOWN }),
            is_open,
            opened,
        }
    }

    /// Begins a call; returns `None` if calls are refused.
    pub(crate) fn call(&self) -> Option<Call<'_>> {
        let is_probe = match self.state.load(Ordering::Acquire) {
            CLOSED => false,
            OPEN if self.pause_is_over() => {
                let won = self.state.compare_exchange(OPEN, HALF_OPEN, Ordering::AcqRel, Ordering::Acquire);
                won.ok()?;
                true
            }
            _ => return None,
        };
        let began = if self.settings.enabled { self.clock.now() } else { Timestamp::UNKNOWN };
        Some(Call { breaker: self, began, is_probe, ended: false })
    }

    /// Returns true if a call would be refused now, without a probe.
    pub(crate) fn refuses(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            CLOSED => false,
            OPEN => !self.pause_is_over(),
            _ => true,
        }
    }

    /// A clock that was set back does not prolong the pause.
    fn pause_is_over(&self) -> bool {
        let (now, pause) = (self.clock.now(), self.lock());
        now >= pause.ends || now < pause.began
    }

    /// Counts a call, and opens the breaker if it failed and too many others did.
    fn count(&self, now: Timestamp, failed: bool) {
        if self.is_turn(now) {
            self.turn(now);
        }
        let half = &self.halves[self.current.load(Ordering::Relaxed) % 2];
        half.calls.add(1);
        if !failed {
            return;
        }
        half.failures.fetch_add(1, Ordering::Relaxed);
        let calls: u64 = self.halves.iter().map(|half| half.calls.total()).sum();
        let failures: u32 = self.halves.iter().map(|half| half.failures.load(Ordering::Relaxed)).sum();
        let too_many = f64::from(failures) >= self.settings.failures_share * calls as f64;
        if failures >= self.settings.failures_min && too_many && self.enter(CLOSED) {
            tracing::warn!(
                subject = %self.subject, failures, calls,
                "most calls failed or were slow: the circuit breaker is open until a probe succeeds"
            );
            self.opened.increment(1);
        }
    }

    /// Returns true if a half of the window is over, or if the clock was set back by more than a window.
    fn is_turn(&self, now: Timestamp) -> bool {
        let turn_at = Timestamp::from_micros(self.turn_at.load(Ordering::Relaxed));
        now >= turn_at || turn_at.since(now) > self.settings.window
    }

    /// Begins the next half of the window.
    fn turn(&self, now: Timestamp) {
        let _turning = self.lock();
        if !self.is_turn(now) {
            return;
        }
        let turn_at = Timestamp::from_micros(self.turn_at.load(Ordering::Relaxed));
        let half = self.settings.window / 2;
        let next = (self.current.load(Ordering::Relaxed) + 1) % 2;
        self.halves[next].clear();
        if now < turn_at || now.since(turn_at) >= half {
            // No call came for at least half a window, or the clock was set back: the other half is over too.
            self.halves[(next + 1) % 2].clear();
        }
        self.current.store(next, Ordering::Relaxed);
        self.turn_at.store(now.after(half).as_micros(), Ordering::Relaxed);
    }

    /// Opens the breaker, if it is in the state `from`. Returns true if it did.
    fn enter(&self, from: u8) -> bool {
        let mut pause = self.lock();
        if self.state.compare_exchange(from, OPEN, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        let now = self.clock.now();
        let length: Duration = pause.backoff.next_pause(&*self.entropy);
        (pause.began, pause.ends) = (now, now.after(length));
        self.is_open.set(1.0);
        true
    }

    /// Closes the breaker after a probe that succeeded.
    fn close(&self) {
        let mut pause = self.lock();
        pause.backoff.reset();
        self.halves.iter().for_each(Half::clear);
        self.is_open.set(0.0);
        self.state.store(CLOSED, Ordering::Release);
        tracing::info!(subject = %self.subject, "a probe has succeeded: the circuit breaker is closed");
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// Ends the call: it failed if `failed`, or if it was slow. Returns the time at which it ended.
    pub(crate) fn end(mut self, failed: bool) -> Timestamp {
        self.ended = true;
        let breaker = self.breaker;
        let now = breaker.clock.now();
        if !breaker.settings.enabled {
            return now;
        }
        self.count(now, failed || self.is_slow(now));
        now
    }

    fn is_slow(&self, now: Timestamp) -> bool {
        now.since(self.began) >= self.breaker.settings.slow
    }

    fn count(&self, now: Timestamp, failed: bool) {
        match (self.is_probe, failed) {
            (false, _) => self.breaker.count(now, failed),
            (true, true) => drop(self.breaker.enter(HALF_OPEN)),
            (true, false) => self.breaker.close(),
        }
    }
}

impl Drop for Call<'_> {
    /// A call that its caller gave up after it had become slow is one that failed. A probe that was given up earlier leaves the place
    /// to the next call.
    fn drop(&mut self) {
        let breaker = self.breaker;
        if self.ended || !breaker.settings.enabled {
            return;
        }
        let now = breaker.clock.now();
        if self.is_slow(now) {
            self.count(now, true);
        } else if self.is_probe {
            let pause = breaker.lock();
            breaker.state.store(OPEN, Ordering::Release);
            drop(pause);
        }
    }
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state.load(Ordering::Relaxed) {
            CLOSED => "closed",
            OPEN => "open",
            _ => "half open",
        };
        f.debug_struct("Breaker").field("state", &state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> BreakerSettings {
        BreakerSettings::of_loads().with_enabled(true).with_slow(Duration::from_millis(100))
    }

    /// Pauses are exact.
    #[derive(Debug)]
    struct Longest;

    impl Entropy for Longest {
        fn random_u128(&self) -> u128 {
            u128::MAX
        }
    }

    #[derive(Debug)]
    struct Settable(AtomicU64);

    impl Clock for Settable {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::SeqCst))
        }

        fn sleep(&self, _duration: Duration) -> crate::clock::Sleep {
            Box::pin(std::future::pending())
        }
    }

    fn breaker(settings: BreakerSettings) -> (Breaker, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        let meters = (Gauge::noop(), Counter::noop());
        let seams: (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::<ManualClock>::clone(&clock), Arc::new(Longest));
        (Breaker::new("a server".to_owned(), settings, seams, meters), clock)
    }

    fn end(breaker: &Breaker, failed: bool) {
        breaker.call().expect("it goes through").end(failed);
    }

    #[test]
    fn it_opens_when_half_of_the_calls_fail_and_not_before() {
        let (breaker, _clock) = breaker(settings().with_failures_share(0.5));
        for _ in 0..4 {
            end(&breaker, true);
        }
        assert!(!breaker.refuses(), "four failures say little");
        for _ in 0..10 {
            end(&breaker, false);
        }
        for _ in 0..5 {
            end(&breaker, true);
        }
        assert!(!breaker.refuses(), "9 of 19");
        end(&breaker, true);
        assert!(breaker.refuses() && breaker.call().is_none(), "10 of 20");
    }

    #[test]
    fn slow_calls_count_as_failed() {
        let (breaker, clock) = breaker(settings());
        for _ in 0..5 {
            let call = breaker.call().expect("it goes through");
            clock.advance(Duration::from_millis(100));
            call.end(false);
        }
        assert!(breaker.refuses());
    }

    #[test]
    fn a_call_that_is_given_up_when_it_is_slow_counts_as_failed() {
        let (breaker, clock) = breaker(settings());
        let give_up = |after| {
            let call = breaker.call().expect("it goes through");
            clock.advance(after);
            drop(call);
        };
        (0..10).for_each(|_| give_up(Duration::from_millis(99)));
        assert!(!breaker.refuses(), "nothing is known of these");
        (0..5).for_each(|_| give_up(Duration::from_millis(100)));
        assert!(breaker.refuses());
        clock.advance(SECOND);
        give_up(Duration::from_millis(100));
        assert!(breaker.refuses(), "a probe that was slow begins another pause");
        clock.advance(2 * SECOND);
        give_up(Duration::ZERO);
        assert!(!breaker.refuses(), "a probe of which nothing is known leaves its place");
    }

    #[test]
    fn failures_are_forgotten_after_the_window() {
        let (breaker, clock) = breaker(settings());
        for _ in 0..4 {
            end(&breaker, true);
        }
        clock.advance(11 * SECOND);
        for _ in 0..4 {
            end(&breaker, true);
            clock.advance(SECOND / 10);
        }
        assert!(!breaker.refuses());
        end(&breaker, true);
        assert!(breaker.refuses());
    }

    #[test]
    fn a_failed_probe_doubles_the_pause() {
        let (breaker, clock) = breaker(settings());
        (0..5).for_each(|_| end(&breaker, true));
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            clock.advance(pause * SECOND - Duration::from_millis(1));
            assert!(breaker.call().is_none(), "the pause of {pause} s is not over");
            clock.advance(Duration::from_millis(2));
            assert!(!breaker.refuses());
            let probe = breaker.call().expect("the probe");
            assert!(breaker.call().is_none() && breaker.refuses(), "one probe at a time");
            probe.end(true);
        }
        clock.advance(31 * SECOND);
        drop(breaker.call().expect("a probe"));
        end(&breaker, false);
        (0..4).for_each(|_| end(&breaker, true));
        assert!(!breaker.refuses(), "what was counted before the outage is forgotten");
        end(&breaker, true);
        clock.advance(SECOND + Duration::from_millis(1));
        assert!(!breaker.refuses(), "the pause is the shortest again");
    }

    /// What another thread does while this one reads the clock.
    type Meanwhile = Box<dyn FnOnce() + Send>;

    /// A clock that lets another thread run, once, while it is read.
    #[derive(Default)]
    struct Interleaved(Mutex<Option<Meanwhile>>);

    impl std::fmt::Debug for Interleaved {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Interleaved")
        }
    }

    impl Clock for Interleaved {
        fn now(&self) -> Timestamp {
            let meanwhile = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(meanwhile) = meanwhile {
                meanwhile();
            }
            Timestamp::from_micros(1)
        }

        fn sleep(&self, _duration: Duration) -> crate::clock::Sleep {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn of_two_calls_that_find_the_pause_over_one_is_the_probe() {
        let clock = Arc::new(Interleaved::default());
        let meters = (Gauge::noop(), Counter::noop());
        let seams: (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::<Interleaved>::clone(&clock), Arc::new(Longest));
        let instantly = settings().with_open_min(Duration::ZERO).with_open_max(Duration::ZERO);
        let breaker = Arc::new(Breaker::new("a server".to_owned(), instantly, seams, meters));
        (0..5).for_each(|_| end(&breaker, true));
        let other = Arc::clone(&breaker);
        let meanwhile = move || {
            // Its probe is still in progress when this thread goes on.
            std::mem::forget(other.call().expect("the pause is over"));
        };
        *clock.0.lock().expect("the clock") = Some(Box::new(meanwhile));
        assert!(breaker.call().is_none(), "the other thread has begun the probe");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_the_pause() {
        let clock = Arc::new(Settable(AtomicU64::new(3_600_000_000)));
        let meters = (Gauge::noop(), Counter::noop());
        let seams: (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::<Settable>::clone(&clock), Arc::new(Longest));
        let breaker = Breaker::new("a server".to_owned(), settings(), seams, meters);
        (0..5).for_each(|_| end(&breaker, true));
        assert!(breaker.refuses());
        clock.0.store(1_000_000, Ordering::SeqCst);
        assert!(!breaker.refuses());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_window() {
        let clock = Arc::new(Settable(AtomicU64::new(3_600_000_000)));
        let meters = (Gauge::noop(), Counter::noop());
        let seams: (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::<Settable>::clone(&clock), Arc::new(Longest));
        let breaker = Breaker::new("a server".to_owned(), settings(), seams, meters);
        (0..4).for_each(|_| end(&breaker, true));
        let windows = |now: u64| clock.0.store(now * 11_000_000, Ordering::SeqCst);
        for now in 1..4 {
            windows(now);
            end(&breaker, true);
        }
        assert!(!breaker.refuses(), "each of these failures is a window after the others");
    }

    #[test]
    fn one_that_is_disabled_never_opens() {
        let (breaker, _clock) = breaker(settings().with_enabled(false));
        (0..100).for_each(|_| end(&breaker, true));
        assert!(breaker.call().is_some());
    }
}
