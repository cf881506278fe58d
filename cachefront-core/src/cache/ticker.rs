//! The ticks of process-local tiers: their coarse clocks, the freshness objective, and the silence of the bus.
//!
//! One thread of the process ticks every cache whose clock follows real time, so that a value ends in time whatever the runtimes do: a
//! runtime may be blocked, or driven for one call at a time, in which a hit runs no other task. A task ticks a cache whose clock is
//! moved by something else, such as a test.
//!
//! | what a tick ends | when | the other party that ends it |
//! |---|---|---|
//! | a value of the tier | its time to live is over, by the coarse clock | none |
//! | plain hits as always | the watermark that was handled is older than the objective | each message of the bus |
//! | the tier | the publisher was silent for `bus_silence_max` | the task that follows the bus |
//!
//! A hit reads an atomic flag and the coarse clock, and nothing else: no lock, no call of the system, no task. So it is as late as the
//! last tick. While the whole process is stopped, no thread ticks, and the first hits after it continues may come before the first tick.
//!
//! The thread holds weak references: it keeps no cache alive, and ends when none is left. It runs no code of the store or the loader, and
//! blocks on nothing but its own pause.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cache::subscription::Subscription;
use crate::clock::{Clock, Timestamp};
use crate::settings::CacheSettings;

/// Ticks the caches of this process.
static PROCESS: LazyLock<Arc<Ticker>> = LazyLock::new(Arc::default);

/// Starts the ticks of a cache. The task that is returned calls `keep_following` again and again: the task that follows the bus may have
/// ended with the runtime of another cache.
///
/// Ticks come at multiples of their period, so that the tasks of all caches of a process wake together: once per period, and not
/// once per cache.
pub(super) fn start(
    subscription: &Arc<Subscription>,
    clock: &Arc<dyn Clock>,
    settings: &CacheSettings,
    keep_following: impl Fn() + Send + 'static,
) -> JoinHandle<()> {
    // Without a thread, the task is the next best.
    let by_thread = clock.is_real_time() && PROCESS.join(subscription, settings.tick);
    let period = if by_thread { settings.tick.max(settings.bus_retry_max) } else { settings.tick };
    let (clock, subscription) = (Arc::clone(clock), Arc::downgrade(subscription));
    let guard = Guard(Weak::clone(&subscription));
    tokio::spawn(async move {
        let _guard = guard;
        while let Some(subscription) = subscription.upgrade() {
            if !by_thread {
                subscription.tick();
            }
            drop(subscription);
            keep_following();
            clock.sleep(until_multiple(clock.now(), period)).await;
        }
    })
}

/// Turns the process-local tier off when its task ends before the cache: a cache may outlive the runtime that it was built in, and then
/// nothing follows the bus for it.
struct Guard(Weak<Subscription>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(subscription) = self.0.upgrade() {
            subscription.turn_off();
        }
    }
}

/// A thread that ticks caches. It begins with the first cache, and ends when none is left.
///
/// All caches are ticked at the shortest of their periods: a tick that comes early changes nothing that is not due.
#[derive(Default)]
struct Ticker {
    members: Mutex<Members>,
    /// Wakes the thread when a cache has joined, whose period may be shorter.
    joined: Condvar,
}

#[derive(Default)]
struct Members {
    all: Vec<Member>,
    /// True while there is a thread.
    running: bool,
    /// True if a cache has joined since the thread last looked for caches: it does not wait then.
    has_joined: bool,
}

/// A cache to tick.
#[derive(Clone)]
struct Member {
    subscription: Weak<Subscription>,
    period: Duration,
}

impl Ticker {
    /// Adds a cache. Returns false if no thread can be started.
    fn join(self: &Arc<Self>, subscription: &Arc<Subscription>, period: Duration) -> bool {
        let mut members = self.lock();
        if !members.running {
            let ticker = Arc::clone(self);
            let thread = thread::Builder::new().name("cachefront-tick".to_owned()).spawn(move || ticker.run());
            if let Err(error) = thread {
                tracing::warn!(%error, "no thread can be started: a task ticks the process-local tier, while its runtime is driven");
                return false;
            }
            members.running = true;
        }
        members.all.push(Member { subscription: Arc::downgrade(subscription), period });
        members.has_joined = true;
        self.joined.notify_one();
        true
    }

    /// The thread: ticks every cache, at the shortest of their periods, until none is left.
    fn run(&self) {
        let mut members = Vec::new();
        while self.living(&mut members) {
            let pause = members.drain(..).map(|(subscription, period)| tick(&subscription, period)).min();
            // A cache may have joined while the others were ticked.
            let waits = |members: &mut Members| !members.has_joined;
            drop(self.joined.wait_timeout_while(self.lock(), pause.unwrap_or_default(), waits));
        }
    }

    /// Collects the caches that still exist, and forgets the others. Returns false if there is none: the thread must end, and a cache
    /// that joins later starts another one.
    fn living(&self, living: &mut Vec<(Arc<Subscription>, Duration)>) -> bool {
        let mut members = self.lock();
        members.has_joined = false;
        members.all.retain(|member| member.subscription.strong_count() > 0);
        living.extend(members.all.iter().filter_map(|member| Some((member.subscription.upgrade()?, member.period))));
        members.running = !members.all.is_empty();
        members.running
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ticks one cache, and returns the time until its next tick. Clocks, and what records metrics and logs, are the user's: a panic of theirs
/// ends neither the thread nor the ticks.
fn tick(subscription: &Subscription, period: Duration) -> Duration {
    let tick = || until_multiple(subscription.tick(), period);
    catch_unwind(AssertUnwindSafe(tick)).unwrap_or(period)
}

/// Returns the time from `now` to the next multiple of `period`.
fn until_multiple(now: Timestamp, period: Duration) -> Duration {
    let period = u64::try_from(period.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(period - now.as_micros() % period)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::clock::{Sleep, SystemClock};
    use crate::metrics::CacheMetrics;
    use crate::testing::WAIT_MAX;

    /// A clock that does something once, when it is ticked.
    struct Acting(Mutex<Option<Box<dyn FnOnce() + Send>>>);

    impl std::fmt::Debug for Acting {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Acting")
        }
    }

    impl Clock for Acting {
        fn now(&self) -> Timestamp {
            SystemClock::new().now()
        }

        fn tick(&self) {
            let act = self.0.lock().expect("unpoisoned").take();
            if let Some(act) = act {
                act();
            }
        }

        fn sleep(&self, _: Duration) -> Sleep {
            Box::pin(std::future::pending())
        }
    }

    fn subscription() -> Arc<Subscription> {
        ticking(Arc::new(SystemClock::new()))
    }

    fn ticking(clock: Arc<dyn Clock>) -> Arc<Subscription> {
        let settings = CacheSettings::default();
        Arc::new(Subscription::new("users".into(), None, &settings, clock, CacheMetrics::new("users")))
    }

    fn wait_for(what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < WAIT_MAX, "{what}");
            thread::yield_now();
        }
    }

    #[test]
    fn the_thread_lives_as_long_as_a_cache() {
        let ticker: Arc<Ticker> = Arc::default();
        for _ in 0..2 {
            let (one, other) = (subscription(), subscription());
            assert!(ticker.join(&one, Duration::from_secs(3_600)));
            assert!(ticker.join(&other, Duration::from_millis(1)));
            drop(one);
            wait_for("the shorter period counts", || ticker.lock().all.len() == 1);
            assert!(ticker.lock().running);
            drop(other);
            wait_for("the thread ends", || Arc::strong_count(&ticker) == 1);
        }
    }

    #[test]
    fn a_cache_that_joins_during_a_tick_is_ticked() {
        let (ticker, clock) = (Arc::<Ticker>::default(), Arc::new(SystemClock::new()));
        let other = ticking(Arc::<SystemClock>::clone(&clock));
        let join = {
            let (ticker, other) = (Arc::clone(&ticker), Arc::clone(&other));
            move || assert!(ticker.join(&other, Duration::from_millis(1)))
        };
        let one = ticking(Arc::new(Acting(Mutex::new(Some(Box::new(join))))));
        let before = clock.coarse();
        assert!(ticker.join(&one, Duration::from_secs(3_600)));
        wait_for("it is ticked", || clock.coarse() > before);
    }
}
