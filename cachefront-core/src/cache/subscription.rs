//! A cache's subscription to the bus: how an invalidation affects the process-local tier, and what the tier may prove.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::bus::Listener;
use crate::cache::epochs::Epochs;
use crate::cache::freshness::Freshness;
use crate::cache::serving::ServingMode;
use crate::clock::{Clock, Timestamp};
use crate::identity::ServerId;
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::metrics::CacheMetrics;
use crate::mode::InvalidationMode;
use crate::position::Position;
use crate::settings::CacheSettings;
use crate::store::Meta;

/// Reads go to the database without the tiers.
const BYPASSED: u8 = 1;

/// What was handled of the bus is older than the freshness objective.
const LAGGING: u8 = 2;

/// Hits in the process-local tier are counted for the statistics, or reported to an observer.
const COUNTED: u8 = 4;

/// Nothing is stored in the shared store.
const READ_ONLY: u8 = 8;

/// Reads go to the database, and cached values are compared with theirs.
const SHADOW: u8 = 16;

/// The cache's task has ended with its runtime, so that nothing follows the bus, or ticks the coarse clock: the process-local tier
/// serves no value.
const STOPPED: u8 = 32;

/// What this process has handled of the bus: the proof for values of the process-local tier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handled {
    /// Every invalidation up to here has been handled; `None` if that is in doubt.
    pub(crate) applied: Option<Position>,
    /// When `applied` was the source's end.
    pub(crate) source_time: Timestamp,
}

/// The state that the bus follower writes and readers check.
pub(crate) struct Subscription {
    /// The cache's name.
    cache: Arc<str>,
    /// The cache's mapping; `None` if it depends on no table.
    mapping: Option<MappingId>,
    /// How long the invalidator may be silent before it counts as dead.
    silence_max: Duration,
    /// Counts the invalidations of the process-local tier.
    pub(crate) epochs: Epochs,
    /// What was handled of the bus, for proofs.
    pub(crate) handled: ArcSwap<Handled>,
    /// The server that the bus is read from.
    server: AtomicU64,
    /// When the publisher that turned the tier on was heard last, in microseconds since the Unix epoch.
    heard: AtomicU64,
    /// Held while the tier is turned on or off, or what it may prove changes: the follower does so, and the ticks.
    turning: Mutex<()>,
    /// [`BYPASSED`], [`LAGGING`], [`COUNTED`] and others: a hit in the process-local tier checks all at once.
    limits: AtomicU8,
    /// The process-local tier is kept correct by time, and needs no publisher.
    by_age: AtomicBool,
    /// True once a warning was logged that plain reads fall back.
    lag_noted: AtomicBool,
    freshness: Freshness,
    clock: Arc<dyn Clock>,
    metrics: CacheMetrics,
}

impl Subscription {
    /// Creates a subscription that has not started: the tier is off.
    pub(crate) fn new(
        cache: Arc<str>,
        mapping: Option<MappingId>,
        settings: &CacheSettings,
        clock: Arc<dyn Clock>,
        metrics: CacheMetrics,
    ) -> Self {
        metrics.local_on.set(0.0);
        metrics.lagging.set(0.0);
        Self {
            cache,
            mapping,
            silence_max: settings.bus_silence_max,
            epochs: Epochs::new(settings.epoch_slots),
            handled: ArcSwap::default(),
            server: AtomicU64::new(ServerId::UNKNOWN.0),
            heard: AtomicU64::new(0),
            turning: Mutex::new(()),
            limits: AtomicU8::new(if settings.count_local_hits { COUNTED } else { 0 }),
            by_age: AtomicBool::new(false),
            lag_noted: AtomicBool::new(false),
            freshness: Freshness::new(settings),
            clock,
            metrics,
        }
    }

    /// Sets what reads do with the tiers.
    pub(crate) fn set_serving(&self, mode: ServingMode) {
        let bits = match mode {
            ServingMode::Normal => 0,
            ServingMode::ReadOnly => READ_ONLY,
            ServingMode::Bypass => BYPASSED,
            ServingMode::Shadow => SHADOW,
        };
        let replace = |limits: u8| Some(limits & !(BYPASSED | READ_ONLY | SHADOW) | bits);
        // The closure never refuses.
        let _ = self.limits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, replace);
        self.show_local_on();
    }

    /// Notes by which rule the process-local tier is kept correct.
    pub(crate) fn set_mode(&self, mode: InvalidationMode) {
        self.by_age.store(mode == InvalidationMode::Ttl, Ordering::SeqCst);
        if mode == InvalidationMode::Ttl {
            self.note_lag(false);
        }
        self.show_local_on();
    }

    /// Returns true if reads may be served from the process-local tier.
    pub(crate) fn is_local_on(&self) -> bool {
        !self.is_local_off() && (self.by_age.load(Ordering::SeqCst) || self.is_started())
    }

    fn show_local_on(&self) {
        self.metrics.local_on.set(f64::from(u8::from(self.is_local_on())));
    }

    /// Returns what reads do with the tiers.
    pub(crate) fn serving(&self) -> ServingMode {
        match self.limits.load(Ordering::Relaxed) {
            limits if limits & BYPASSED != 0 => ServingMode::Bypass,
            limits if limits & SHADOW != 0 => ServingMode::Shadow,
            limits if limits & READ_ONLY != 0 => ServingMode::ReadOnly,
            _ => ServingMode::Normal,
        }
    }

    /// Makes every plain hit in the process-local tier take the path on which it is counted or reported.
    pub(crate) fn watch_local_hits(&self) {
        self.limit(COUNTED, true);
    }

    /// Returns true if reads go to the database without the tiers.
    #[inline]
    pub(crate) fn is_bypassed(&self) -> bool {
        self.limits.load(Ordering::Relaxed) & BYPASSED != 0
    }

    /// Returns true if the process-local tier serves no read.
    pub(crate) fn is_local_off(&self) -> bool {
        self.limits.load(Ordering::Relaxed) & (BYPASSED | SHADOW | STOPPED) != 0
    }

    /// Turns the process-local tier off for good.
    pub(crate) fn turn_off(&self) {
        self.limit(STOPPED, true);
        self.show_local_on();
    }

    /// Returns true if a plain read may be served a value of the process-local tier only if its age allows it.
    pub(crate) fn is_lagging(&self) -> bool {
        self.limits.load(Ordering::Relaxed) & LAGGING != 0
    }

    /// Returns true if plain reads may be served from the process-local tier as always, uncounted.
    #[inline]
    pub(crate) fn is_unlimited(&self) -> bool {
        self.limits.load(Ordering::Relaxed) == 0
    }

    /// Ticks the coarse clock, and ends what time ends although no message comes: the invalidator may be frozen, or the bus silent, or
    /// the runtime of the task that follows the bus may not be driven. A tier that is off serves nothing, and is not checked. Returns
    /// the time.
    pub(crate) fn tick(&self) -> Timestamp {
        self.clock.tick();
        let now = self.clock.now();
        if self.mapping.is_some() && self.is_started() {
            self.compare(self.handled.load().source_time, now);
            self.check_silence(now);
        }
        now
    }

    /// Makes plain reads of the process-local tier fall back if this watermark is too old ("Freshness objective").
    fn compare(&self, source_time: Timestamp, now: Timestamp) {
        let lagging = !self.freshness.is_met(source_time, now);
        if self.is_lagging() != lagging {
            self.limit(LAGGING, lagging);
        }
    }

    /// Turns the tier off if the publisher has been silent for too long. The follower does so too, unless it does not run.
    fn check_silence(&self, now: Timestamp) {
        if self.silence(now) <= self.silence_max {
            return;
        }
        let _turning = self.turning();
        // A message may have come meanwhile.
        if self.is_started() && self.silence(now) > self.silence_max {
            self.turn_off_until_heard("silence");
        }
    }

    /// Returns how long the publisher has been silent. A clock that was set back makes it begin again.
    fn silence(&self, now: Timestamp) -> Duration {
        let heard = Timestamp::from_micros(self.heard.load(Ordering::SeqCst));
        if heard > now {
            self.heard.store(now.as_micros(), Ordering::SeqCst);
        }
        now.since(heard)
    }

    /// Turns the tier off, and clears it, until the next heartbeat.
    fn turn_off_until_heard(&self, reason: &'static str) {
        self.epochs.stop_following();
        self.server.store(ServerId::UNKNOWN.0, Ordering::SeqCst);
        self.handled.store(Arc::default());
        self.show_local_on();
        self.metrics.local_reset(reason);
        tracing::debug!(cache = %self.cache, reason, "the process-local tier is off and cleared");
    }

    /// No code panics while it holds the lock, but what records metrics and logs, which leaves nothing half done.
    fn turning(&self) -> MutexGuard<'_, ()> {
        self.turning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self, limit: u8, on: bool) {
        if on {
            self.limits.fetch_or(limit, Ordering::SeqCst);
        } else {
            self.limits.fetch_and(!limit, Ordering::SeqCst);
        }
    }

    /// Returns true if a plain read may be served a value that was loaded at `filled_at`, with this watermark
    /// ("Freshness objective"). A cache that depends on no table has no watermark and no objective.
    pub(crate) fn is_fresh(&self, source_time: Timestamp, filled_at: Timestamp, now: Timestamp) -> bool {
        if self.mapping.is_none() {
            return true;
        }
        let met = self.freshness.is_met(source_time, now);
        self.note_lag(!met);
        // The mode may have changed meanwhile.
        if !met && self.by_age.load(Ordering::SeqCst) {
            self.note_lag(false);
        }
        met || self.freshness.serves(filled_at, now)
    }

    /// Like [`is_fresh`](Self::is_fresh) with the watermark that this process has handled. Nothing is logged: the store's
    /// watermark may be younger, and is the one that decides whether plain reads fall back.
    pub(crate) fn is_fresh_here(&self, filled_at: Timestamp, now: Timestamp) -> bool {
        let source_time = self.handled.load().source_time;
        self.mapping.is_none() || self.freshness.is_met(source_time, now) || self.freshness.serves(filled_at, now)
    }

    /// Returns true while plain reads are known to fall back.
    #[cfg(test)]
    pub(crate) fn is_lag_noted(&self) -> bool {
        self.lag_noted.load(Ordering::SeqCst)
    }

    /// Logs when plain reads begin to fall back, and when they return to normal; once each.
    fn note_lag(&self, lagging: bool) {
        if self.lag_noted.load(Ordering::Relaxed) == lagging
            || self.lag_noted.swap(lagging, Ordering::SeqCst) == lagging
        {
            return;
        }
        self.metrics.lagging.set(f64::from(u8::from(lagging)));
        if lagging {
            tracing::warn!(
                cache = %self.cache,
                "the freshness objective is not met: plain reads do what `on_lag` says until the invalidator keeps up"
            );
        } else {
            tracing::info!(cache = %self.cache, "the freshness objective is met: plain reads are served as always");
        }
    }

    /// Returns true if a value that was read from, or filled at, this server may be cached in this process.
    ///
    /// It must be the server that the bus is read from, because the invalidations of another one do not arrive there; and
    /// its meta must have applied everything that this process has handled. A server that was demoted while both
    /// connections stayed up takes over an older state from the new primary, and its values lack what was announced
    /// before ("One server").
    pub(crate) fn follows(&self, server: ServerId, meta: Option<&Meta>) -> bool {
        server.is_same(self.server()) && self.has_all_handled(meta)
    }

    /// The server that the bus is read from; unknown while the tier is off.
    fn server(&self) -> ServerId {
        ServerId(self.server.load(Ordering::SeqCst))
    }

    /// Returns true if the meta, read together with a value, has applied everything that this process has handled.
    fn has_all_handled(&self, meta: Option<&Meta>) -> bool {
        let handled = self.handled.load();
        matches!((meta, &handled.applied), (Some(meta), Some(handled)) if meta.applied().covers(handled))
    }
}

impl Listener for Subscription {
    fn cache(&self) -> &str {
        &self.cache
    }

    fn mapping(&self) -> Option<MappingId> {
        self.mapping
    }

    fn silence_max(&self) -> Duration {
        self.silence_max
    }

    fn is_started(&self) -> bool {
        self.epochs.is_following()
    }

    fn start(&self, server: ServerId) {
        // A clock may be the user's: it is not read under the lock.
        self.heard();
        let _turning = self.turning();
        self.handled.store(Arc::default());
        self.server.store(server.0, Ordering::SeqCst);
        self.epochs.start_following();
        self.show_local_on();
    }

    fn stop(&self, reason: &'static str) {
        let _turning = self.turning();
        self.turn_off_until_heard(reason);
    }

    fn heard(&self) {
        self.heard.store(self.clock.now().as_micros(), Ordering::SeqCst);
    }

    fn invalidate(&self, key: &str) {
        match StoreKey::hash_of(key) {
            Some(hash) => self.epochs.invalidate_hash(hash),
            None => self.epochs.invalidate_all(),
        }
    }

    fn invalidate_all(&self) {
        self.epochs.invalidate_all();
    }

    fn handled(&self, applied: &Position, source_time: Timestamp) {
        let now = self.clock.now();
        let turning = self.turning();
        // A tick may have turned the tier off since the follower asked.
        if !self.is_started() {
            return;
        }
        self.handled.store(Arc::new(Handled { applied: Some(applied.clone()), source_time }));
        drop(turning);
        self.compare(source_time, now);
        if self.freshness.is_met(source_time, now) {
            self.note_lag(false);
        }
    }

    fn delayed(&self, delay: Duration) {
        self.metrics.bus_seconds.record(delay.as_secs_f64());
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("cache", &self.cache)
            .field("mapping", &self.mapping)
            .finish_non_exhaustive()
    }
}
