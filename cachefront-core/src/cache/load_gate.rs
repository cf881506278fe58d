//! Bounds the loads of a cache: how many run at once, how many wait, and how long one may take.
//!
//! Every load passes here, of one key or of many: this is the one place for the timeout, for panics of the loader and for
//! the load metrics.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::poll_immediate;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::breaker::Breaker;
use crate::clock::{Clock, Entropy, Timestamp};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::loader::{LoadCx, LoadNotes, LoadedValue};
use crate::metrics::CacheMetrics;
use crate::position::Position;
use crate::settings::CacheSettings;

/// The bulkhead between a cache and its database, so that an outage of the store cannot stampede the database.
pub(super) struct LoadGate {
    cache: Arc<str>,
    /// Permits for the loads that run.
    running: Semaphore,
    /// Number of loads that wait for a permit.
    waiting: AtomicUsize,
    waiting_max: usize,
    /// Maximum time of a load, including the wait for its permit.
    timeout: Duration,
    /// Refuses loads while the database fails or is slow.
    breaker: Breaker,
    /// Maximum time for which a loader waits for its fence.
    fence_wait: Duration,
    clock: Arc<dyn Clock>,
    metrics: CacheMetrics,
}

/// The right to run one load, and the time that the load may take.
pub(super) struct Permit<'a> {
    _permit: SemaphorePermit<'a>,
    remaining: Duration,
}

/// What is known about a finished load.
#[derive(Clone)]
pub(super) struct LoadFacts {
    /// What the loader reported.
    pub(super) notes: LoadNotes,
    /// The clock before the load.
    pub(super) started_at: Timestamp,
    /// Duration of the load.
    pub(super) took: Duration,
}

/// A value that was just loaded from the database.
pub(super) struct Fresh<V> {
    pub(super) value: Option<V>,
    pub(super) facts: LoadFacts,
}

impl LoadGate {
    /// Creates a gate with the limits of `settings`.
    pub(super) fn new(
        cache: Arc<str>,
        settings: &CacheSettings,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        metrics: CacheMetrics,
    ) -> Self {
        let breaker = Breaker::new(
            format!("the database of cache `{cache}`"),
            settings.load_breaker,
            (Arc::clone(&clock), entropy),
            metrics.breaker("load"),
        );
        Self {
            cache,
            breaker,
            running: Semaphore::new(settings.loads_max),
            waiting: AtomicUsize::new(0),
            waiting_max: settings.loads_waiting_max,
            timeout: settings.load_timeout,
            fence_wait: settings.fence_wait.min(settings.lease),
            clock,
            metrics,
        }
    }

    /// Waits for a permit to load. The wait counts towards the load's timeout.
    ///
    /// # Errors
    /// `Overloaded` if too many loads wait already, `Timeout` if no permit becomes free in time; `Unavailable` while the
    /// circuit breaker is open.
    pub(super) async fn permit(&self) -> Result<Permit<'_>> {
        if self.breaker.refuses() {
            return Err(self.refused());
        }
        if let Ok(permit) = self.running.try_acquire() {
            return Ok(Permit { _permit: permit, remaining: self.timeout });
        }
        let waiting = Waiting(&self.waiting);
        if waiting.0.fetch_add(1, Ordering::SeqCst) >= self.waiting_max {
            self.metrics.load_failed.increment(1);
            return Err(Error::new(
                ErrorKind::Overloaded,
                format!("{} loads of cache `{}` are waiting for the database already", self.waiting_max, self.cache),
            ));
        }
        let began = self.clock.now();
        let permit = tokio::select! {
            biased;
            permit = self.running.acquire() => permit,
            () = self.clock.sleep(self.timeout) => return Err(self.timed_out()),
        };
        let closed = |error| Error::with_source(ErrorKind::Closed, "the cache is closed", error);
        let waited = self.clock.now().since(began);
        Ok(Permit { _permit: permit.map_err(closed)?, remaining: self.timeout.saturating_sub(waited) })
    }

    /// Returns the context of a load that begins now, under leases with these fences.
    pub(super) fn context<'a>(&self, fences: impl Iterator<Item = &'a Position>) -> Arc<LoadCx> {
        let mut fence: Option<Position> = None;
        for required in fences {
            fence.get_or_insert_default().union(required);
        }
        Arc::new(LoadCx::new(self.clock.now()).with_fence(fence, self.fence_wait))
    }

    /// Runs one load under its permit, and records its duration and a failure. It is polled once before its timer starts, so that one
    /// which ends at once takes none.
    ///
    /// # Errors
    /// `Timeout` if the load takes longer than the permit allows; the loader's own error, or `Load` with it as the source;
    /// `Unavailable` while the circuit breaker is open.
    pub(super) async fn run<T>(
        &self,
        permit: Permit<'_>,
        cx: &LoadCx,
        load: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<(T, LoadFacts)> {
        let Some(call) = self.breaker.call() else { return Err(self.refused()) };
        // A panic is caught here and not by the task alone, so that the caller can release its lease.
        let mut load = pin!(AssertUnwindSafe(load).catch_unwind());
        // A load that ends at once needs no timer.
        let loaded = match poll_immediate(load.as_mut()).await {
            Some(loaded) => loaded,
            None => tokio::select! {
                biased;
                loaded = load => loaded,
                () = self.clock.sleep(permit.remaining) => {
                    let took = call.end(true).since(cx.started_at());
                    self.metrics.load_seconds.record(took.as_secs_f64());
                    return Err(self.timed_out());
                }
            },
        };
        let loaded = loaded.unwrap_or_else(|_| Err("the loader panicked".into()));
        call.end(loaded.is_err());
        let took = self.clock.now().since(cx.started_at());
        self.metrics.load_seconds.record(took.as_secs_f64());
        match loaded {
            Ok(loaded) => Ok((loaded, LoadFacts { notes: cx.notes(), started_at: cx.started_at(), took })),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Counts one loaded value, and puts it together with the facts about its load.
    pub(super) fn fresh<V>(&self, value: Option<V>, facts: LoadFacts) -> Fresh<V> {
        if value.is_some() { &self.metrics.load_ok } else { &self.metrics.load_absent }.increment(1);
        Fresh { value, facts }
    }

    /// Counts one value of a batch load, and adds what the loader decided about it alone.
    pub(super) fn fresh_of_many<V>(&self, loaded: LoadedValue<V>, facts: &LoadFacts) -> Fresh<V> {
        let (value, own) = loaded.into_parts();
        let mut facts = facts.clone();
        facts.notes.add_own(&own);
        self.fresh(value, facts)
    }

    /// Counts a load that found the cached value unchanged, which then has the facts of this load.
    pub(super) fn unchanged<V>(&self, value: Option<V>, facts: LoadFacts) -> Fresh<V> {
        self.metrics.load_unchanged.increment(1);
        Fresh { value, facts }
    }

    /// The error of a load without a loader.
    pub(super) fn no_loader(&self) -> BoxError {
        let message = format!("cache `{}` has no loader: set one with `loader`, or use `get_or_load`", self.cache);
        Error::new(ErrorKind::Config, message).into()
    }

    /// Counts a failed load. An error of this crate is returned as it is; another one becomes the source of a `Load` error.
    pub(super) fn failed(&self, error: BoxError) -> Error {
        self.metrics.load_failed.increment(1);
        match error.downcast::<Error>() {
            Ok(own) => *own,
            Err(error) => {
                Error::with_source(ErrorKind::Load, format!("the loader of cache `{}` failed", self.cache), error)
            }
        }
    }

    /// Counts a load that the circuit breaker refuses.
    fn refused(&self) -> Error {
        self.metrics.load_failed.increment(1);
        let message =
            format!("loads of cache `{}` are refused because its database failed or was slow: retry later", self.cache);
        Error::new(ErrorKind::Unavailable, message)
    }

    /// Counts a load that timed out.
    fn timed_out(&self) -> Error {
        self.metrics.load_failed.increment(1);
        let message = format!("a load of cache `{}` took longer than {:?}", self.cache, self.timeout);
        Error::new(ErrorKind::Timeout, message)
    }
}

/// Counts a waiting load until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
