//! Every tunable number, with its unit, its default and the reason for it.
//!
//! The defaults fit a service next to its store and database. Reasons to change them:
//!
//! * loads that regularly take longer than 3 s: raise `lease`, or every process loads the key after the lease expires;
//! * a database with few connections: lower `loads_max` to what it can serve;
//! * a replica that lags by more than 2 s: raise `proof_wait`, or session reads fail with `Unproven`;
//! * clocks without NTP: raise `clock_skew`, or `max_staleness` claims too much;
//! * bursts of writes to few keys: raise `batch_linger`, so that a batch has more of them and fewer round trips.
//!
//! The structs implement serde's traits, for a file of settings: an unknown field is an error, a missing one has its default. A
//! duration is `{"secs": 1, "nanos": 500000000}`, and [`OnLag`] is `"bypass"`, `"serve"` or `{"shorten_ttl": {"secs": 10, "nanos":
//! 0}}`:
//!
//! ```
//! use std::time::Duration;
//! use cachefront::{CacheSettings, OnLag};
//!
//! let settings: CacheSettings = serde_json::from_str(
//!     r#"{
//!         "load_timeout": {"secs": 2, "nanos": 0},
//!         "on_lag": {"shorten_ttl": {"secs": 5, "nanos": 0}},
//!         "load_breaker": {"enabled": true}
//!     }"#,
//! )?;
//! assert_eq!(settings.load_timeout, Duration::from_secs(2));
//! assert_eq!(settings.on_lag, OnLag::ShortenTtl(Duration::from_secs(5)));
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::settings::checks::{above_zero, at_least_one, bounded, invalid};

/// Maximum of `epoch_slots`: 8 MiB for each cache. Tickets have room for this many.
pub(crate) const EPOCH_SLOTS_MAX: usize = 1 << 20;

/// Declares a `with_*` setter for each field of a settings struct. For the crates of this workspace only.
#[doc(hidden)]
#[macro_export]
macro_rules! settings_setters {
    ($($setter:ident = $field:ident: $type:ty;)*) => {
        $(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
            #[must_use]
            pub fn $setter(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            }
        )*
    };
}

// After the macro, which it uses.
mod breaker;
mod checks;
mod inspect;

use breaker::LoadBreaker;

pub use breaker::BreakerSettings;
pub use inspect::InspectSettings;

/// What a plain read does while the watermark is older than the freshness objective, or unknown; see
/// [`CacheBuilder::freshness_objective`](crate::CacheBuilder::freshness_objective).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnLag {
    /// Serves only values that were loaded within this time, and loads others again. A value that was loaded from a replica
    /// has no known age and is loaded again.
    ShortenTtl(Duration),
    /// Serves no cached value: loads from the database.
    Bypass,
    /// Serves as always: if the invalidator dies, values are served until their time to live ends.
    Serve,
}

/// Settings of a cache.
///
/// ```
/// use cachefront::CacheSettings;
///
/// let mut settings = CacheSettings::default();
/// settings.loads_max = 16;
/// settings.validate()?;
/// # Ok::<(), cachefront::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheSettings {
    /// How long a lease is valid. It should exceed the duration of almost every load: after it expires, another process may
    /// load the same key. Default: 3 s.
    pub lease: Duration,
    /// How long a reader waits for a load in another process before it loads by itself. Default: 3 s, as the lease.
    pub lease_wait: Duration,
    /// The first pause of a reader that waits for another process's load; it doubles up to `lease_poll_max`.
    /// Default: 1 ms, about a store's round trip.
    pub lease_poll_min: Duration,
    /// The maximum of this pause. Default: 25 ms: a tenth of what a person notices.
    pub lease_poll_max: Duration,
    /// How long such a reader waits at most before it asks again, where the store tells it that the load has ended.
    /// Default: 250 ms, in case the notification is lost.
    pub lease_push_max: Duration,
    /// Maximum number of concurrent loads, so that an outage of the store cannot stampede the database. Default: 64.
    pub loads_max: usize,
    /// Maximum number of loads that wait for a permit; further reads fail as overloaded. Default: 65,536.
    pub loads_waiting_max: usize,
    /// Timeout of a load, including the wait for a permit: a load that takes longer is cancelled. Default: 30 s.
    pub load_timeout: Duration,
    /// How long a read waits for a load before it fails with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout); the load goes
    /// on, and its value is stored. Default: 0: it waits for `load_timeout`.
    pub load_hard_timeout: Duration,
    /// How long a load waits for loads of other keys, so that [`load_each`](crate::Loader::load_each) gets them all at once:
    /// fewer statements for a database that is far away, and that much more latency for each miss. Default: 0: it does not wait.
    pub load_linger: Duration,
    /// Maximum number of keys of one load that was merged in this way; a load of as many does not wait. Default: 100.
    pub load_batch_max: usize,
    /// When loads are refused because the database fails or is slow. Default: [`BreakerSettings::of_loads`], which is off: only
    /// [`enabled`](BreakerSettings::enabled) turns it on, not another field alone.
    #[serde(deserialize_with = "LoadBreaker::deserialize")]
    pub load_breaker: BreakerSettings,
    /// When reads go to the database at once because the store fails or is slow. Invalidations never do. Default: on; see
    /// [`BreakerSettings::of_store`].
    pub store_breaker: BreakerSettings,
    /// How long a session or bounded read repeats its load when the database that was read is known to lag; then it fails
    /// with [`ErrorKind::Unproven`](crate::ErrorKind::Unproven). Pauses are those of `lease_poll_min` and `lease_poll_max`.
    /// Default: 2 s, well above a healthy replica's lag.
    pub proof_wait: Duration,
    /// How long a load of a [fenced](crate::CacheBuilder::fenced) cache waits until its server has executed what was invalidated
    /// before the load; then the value is returned and not kept. It never waits longer than `lease`. Default: 500 ms, above a
    /// healthy replica's lag.
    pub fence_wait: Duration,
    /// Maximum age of the watermark at which plain reads are served as always; it includes `clock_skew`. While the watermark
    /// is older, or unknown, plain reads do what `on_lag` says.
    /// Default: 10 s, forty heartbeats: above the lag of a healthy invalidator, also in a large transaction.
    pub freshness_objective: Duration,
    /// What plain reads do while the watermark is older. Default: [`OnLag::ShortenTtl`] of 10 s: a plain read of a dead
    /// invalidator's cache is 20 s old at most, and the database serves each key once in 10 s.
    pub on_lag: OnLag,
    /// How long a value is served after its time to live while one process loads it again in the background. It is kept correct
    /// by invalidation all the while; in TTL mode it is that much older. Default: 0: a value that has expired is a miss.
    pub stale_while_revalidate: Duration,
    /// How early values are loaded again in the background, before their time to live ends: a read refreshes at random, with
    /// a higher probability the closer the end is and the longer the value took to load. 1.0 is the value of the XFetch
    /// paper, more is earlier. Default: 0.0: never.
    pub early_refresh: f64,
    /// Maximum age of a value that a plain read may be served if its load fails (loader error, timeout, overload), although it
    /// was invalidated or has expired. Only the process-local tier keeps such values. Session and bounded reads are never served one.
    /// Default: 0: an error is returned.
    pub stale_if_error: Duration,
    /// How long a plain read that has such a value does not load a key again after a failure. Default: 1 s.
    pub stale_if_error_throttle: Duration,
    /// How long a plain read that has such a value waits for its load, which then goes on in the background.
    /// Default: 0: it waits for the load.
    pub load_soft_timeout: Duration,
    /// Maximum size of an encoded value in bytes, before compression: a larger one is returned and not cached, and no entry is
    /// inflated to more. Default: 1 MiB: a server that moves larger values delays all others.
    pub value_bytes_max: usize,
    /// Maximum difference between the clocks of processes, added to every staleness bound. Default: 50 ms, well within what NTP
    /// achieves.
    pub clock_skew: Duration,
    /// Number of slots that count the invalidations of the process-local tier (a power of two, at most 1,048,576). Two
    /// keys that share a slot are invalidated together. Default: 65,536, half a MiB.
    pub epoch_slots: usize,
    /// How long the bus may be silent before the process-local tier is turned off; of the caches of a process on one store, the
    /// shortest counts for all. Default: 2 s, several heartbeats.
    pub bus_silence_max: Duration,
    /// The first pause before a new subscription to the bus; it doubles up to `bus_retry_max`. The first cache of a process on a
    /// store decides, because all share one subscription. Default: 20 ms.
    pub bus_retry_min: Duration,
    /// The maximum of this pause, and the time after which another cache follows the bus if the runtime that did has ended. Default: 1 s.
    pub bus_retry_max: Duration,
    /// Maximum number of keys that [`invalidate_many`](crate::Cache::invalidate_many) removes by one command and announces in
    /// one message. Default: 1,000, so that a long list delays no reader.
    pub keys_per_command_max: usize,
    /// How long the marker of a tag lives. When it ends, the values that have the tag are loaded again. Default: 24 h, so that
    /// markers of tags that are no longer used do not stay.
    pub tag_ttl: Duration,
    /// How long [`Cache::shutdown`](crate::Cache::shutdown) waits for loads in progress. Default: 10 s, what orchestrators
    /// usually leave of the time that they grant.
    pub drain_max: Duration,
    /// Whether hits in the process-local tier are counted for [`Cache::stats`](crate::Cache::stats), which costs an atomic
    /// addition for each. Default: `false`; the metric `cachefront_reads_total` counts them in any case.
    pub count_local_hits: bool,
    /// Period of the coarse clock of the process-local tier: the accuracy of its times to live, and how often the watermark is
    /// compared with `freshness_objective`, and the silence of the bus with `bus_silence_max`, while no message comes. The shortest of a
    /// process counts for all. Default: 10 ms.
    pub tick: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            lease_wait: Duration::from_secs(3),
            lease_poll_min: Duration::from_millis(1),
            lease_poll_max: Duration::from_millis(25),
            lease_push_max: Duration::from_millis(250),
            loads_max: 64,
            loads_waiting_max: 65_536,
            load_timeout: Duration::from_secs(30),
            load_hard_timeout: Duration::ZERO,
            load_linger: Duration::ZERO,
            load_batch_max: 100,
            load_breaker: BreakerSettings::of_loads(),
            store_breaker: BreakerSettings::of_store(),
            proof_wait: Duration::from_secs(2),
            fence_wait: Duration::from_millis(500),
            freshness_objective: Duration::from_secs(10),
            on_lag: OnLag::ShortenTtl(Duration::from_secs(10)),
            stale_while_revalidate: Duration::ZERO,
            early_refresh: 0.0,
            stale_if_error: Duration::ZERO,
            stale_if_error_throttle: Duration::from_secs(1),
            load_soft_timeout: Duration::ZERO,
            value_bytes_max: 1 << 20,
            clock_skew: Duration::from_millis(50),
            epoch_slots: 65_536,
            bus_silence_max: Duration::from_secs(2),
            bus_retry_min: Duration::from_millis(20),
            bus_retry_max: Duration::from_secs(1),
            keys_per_command_max: 1_000,
            tag_ttl: Duration::from_secs(24 * 3600),
            drain_max: Duration::from_secs(10),
            count_local_hits: false,
            tick: Duration::from_millis(10),
        }
    }
}

impl CacheSettings {
    settings_setters! {
        with_lease = lease: Duration;
        with_lease_wait = lease_wait: Duration;
        with_lease_poll_min = lease_poll_min: Duration;
        with_lease_poll_max = lease_poll_max: Duration;
        with_lease_push_max = lease_push_max: Duration;
        with_loads_max = loads_max: usize;
        with_loads_waiting_max = loads_waiting_max: usize;
        with_load_timeout = load_timeout: Duration;
        with_load_hard_timeout = load_hard_timeout: Duration;
        with_load_linger = load_linger: Duration;
        with_load_batch_max = load_batch_max: usize;
        with_load_breaker = load_breaker: BreakerSettings;
        with_store_breaker = store_breaker: BreakerSettings;
        with_proof_wait = proof_wait: Duration;
        with_fence_wait = fence_wait: Duration;
        with_freshness_objective = freshness_objective: Duration;
        with_on_lag = on_lag: OnLag;
        with_stale_while_revalidate = stale_while_revalidate: Duration;
        with_early_refresh = early_refresh: f64;
        with_stale_if_error = stale_if_error: Duration;
        with_stale_if_error_throttle = stale_if_error_throttle: Duration;
        with_load_soft_timeout = load_soft_timeout: Duration;
        with_value_bytes_max = value_bytes_max: usize;
        with_clock_skew = clock_skew: Duration;
        with_epoch_slots = epoch_slots: usize;
        with_bus_silence_max = bus_silence_max: Duration;
        with_bus_retry_min = bus_retry_min: Duration;
        with_bus_retry_max = bus_retry_max: Duration;
        with_keys_per_command_max = keys_per_command_max: usize;
        with_tag_ttl = tag_ttl: Duration;
        with_drain_max = drain_max: Duration;
        with_count_local_hits = count_local_hits: bool;
        with_tick = tick: Duration;
    }

    /// Returns true if values are loaded again in the background when their time to live ends.
    pub(crate) fn refreshes(&self) -> bool {
        !self.stale_while_revalidate.is_zero() || self.early_refresh > 0.0
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("lease", self.lease),
            ("lease_wait", self.lease_wait),
            ("lease_poll_min", self.lease_poll_min),
            ("lease_poll_max", self.lease_poll_max),
            ("lease_push_max", self.lease_push_max),
            ("load_timeout", self.load_timeout),
            ("fence_wait", self.fence_wait),
            ("bus_silence_max", self.bus_silence_max),
            ("bus_retry_min", self.bus_retry_min),
            ("bus_retry_max", self.bus_retry_max),
            ("tag_ttl", self.tag_ttl),
            ("drain_max", self.drain_max),
            ("tick", self.tick),
        ];
        above_zero(&positive)?;
        bounded(&[
            ("load_hard_timeout", self.load_hard_timeout),
            ("load_soft_timeout", self.load_soft_timeout),
            ("load_linger", self.load_linger),
            ("proof_wait", self.proof_wait),
            ("stale_while_revalidate", self.stale_while_revalidate),
        ])?;
        at_least_one(&[
            ("loads_max", self.loads_max),
            ("loads_waiting_max", self.loads_waiting_max),
            ("load_batch_max", self.load_batch_max),
            ("value_bytes_max", self.value_bytes_max),
            ("keys_per_command_max", self.keys_per_command_max),
        ])?;
        self.load_breaker.validate("load_breaker")?;
        self.store_breaker.validate("store_breaker")?;
        let within_lag = match self.on_lag {
            OnLag::ShortenTtl(ttl) => ttl,
            OnLag::Bypass | OnLag::Serve => Duration::MAX,
        };
        for (name, duration) in [("freshness_objective", self.freshness_objective), ("on_lag", within_lag)] {
            if duration <= self.clock_skew {
                return Err(invalid(format!(
                    "`{name}` is {duration:?}, which the allowance for clocks, `clock_skew`, uses up: give more than {:?}",
                    self.clock_skew
                )));
            }
        }
        if !(0.0..=100.0).contains(&self.early_refresh) {
            return Err(invalid(format!("`early_refresh` is {}: give 0.0 to 100.0", self.early_refresh)));
        }
        if !self.epoch_slots.is_power_of_two() || self.epoch_slots > EPOCH_SLOTS_MAX {
            let slots = self.epoch_slots;
            return Err(invalid(format!("`epoch_slots` is {slots}: give a power of two up to {EPOCH_SLOTS_MAX}")));
        }
        Ok(())
    }
}

/// Settings of an invalidator.
///
/// ```
/// use std::time::Duration;
/// use cachefront::CdcSettings;
///
/// let mut settings = CdcSettings::default();
/// settings.heartbeat = Duration::ZERO;
/// let error = settings.validate().expect_err("a heartbeat of zero");
/// assert_eq!(error.to_string(), "`heartbeat` is zero: give a duration above zero");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CdcSettings {
    /// Maximum number of row changes in a batch. Default: 1,000: larger pipelines are not faster.
    pub batch_changes_max: usize,
    /// Maximum size of the log in a batch, in bytes, approximately. Default: 4 MiB.
    pub batch_bytes_max: usize,
    /// How long a batch waits for more changes after the first one. Default: 0: it does not wait.
    pub batch_linger: Duration,
    /// Maximum number of keys in one command to the store. Default: 1,000.
    pub keys_per_command_max: usize,
    /// In a batch of at most this many keys, an entry that was loaded after the commit survives the commit's own event, so
    /// that a service that reads what it has just written does not load it twice. Larger batches remove every entry, which
    /// costs the store less than comparing. 0: always remove. Default: 64.
    pub compared_keys_max: usize,
    /// In a batch of at most this many row images of caches with
    /// [`refresh_in_place`](crate::CacheBuilder::refresh_in_place), they replace values in place; a larger batch removes the
    /// entries, which costs the store less. Default: 256, what a single node does within a millisecond or two.
    pub row_images_max: usize,
    /// Maximum size of an encoded value that replaces another in place, in bytes; an entry with a larger one is removed.
    /// Default: 64 KiB, so that a script that compares and stores it delays no reader.
    pub row_image_bytes_max: usize,
    /// Period of heartbeats, which move the watermark and show on the bus that the invalidator is alive. All invalidators of
    /// a namespace must have the same: one with a shorter period takes a holder with a much longer one for dead. Five heartbeats
    /// must be longer than the store's wait for replicas (`wait_timeout` of Redis), or the invalidator does not start.
    /// Default: 250 ms.
    pub heartbeat: Duration,
    /// Timeout of one wait at the visibility gate; after it the gate is tried again. Default: 1 s.
    pub gate_timeout: Duration,
    /// The first pause after a failure; it doubles up to `retry_max`. Default: 50 ms.
    pub retry_min: Duration,
    /// The maximum pause between retries. Default: 5 s.
    pub retry_max: Duration,
    /// How long an invalidator may fail, session after session and without progress, before its source gives up its place in an
    /// election of the source's own, such as a Kafka consumer group. Default: 5 s: another member then works within the
    /// freshness objective, and a short outage of a server that all members use elects no other one.
    pub resign_after: Duration,
    /// How long a shutdown waits for the current batch. Default: 10 s.
    pub drain_max: Duration,
}

impl Default for CdcSettings {
    fn default() -> Self {
        Self {
            batch_changes_max: 1_000,
            batch_bytes_max: 4 << 20,
            batch_linger: Duration::ZERO,
            keys_per_command_max: 1_000,
            compared_keys_max: 64,
            row_images_max: 256,
            row_image_bytes_max: 64 << 10,
            heartbeat: Duration::from_millis(250),
            gate_timeout: Duration::from_secs(1),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(5),
            resign_after: Duration::from_secs(5),
            drain_max: Duration::from_secs(10),
        }
    }
}

impl CdcSettings {
    settings_setters! {
        with_batch_changes_max = batch_changes_max: usize;
        with_batch_bytes_max = batch_bytes_max: usize;
        with_batch_linger = batch_linger: Duration;
        with_keys_per_command_max = keys_per_command_max: usize;
        with_compared_keys_max = compared_keys_max: usize;
        with_row_images_max = row_images_max: usize;
        with_row_image_bytes_max = row_image_bytes_max: usize;
        with_heartbeat = heartbeat: Duration;
        with_gate_timeout = gate_timeout: Duration;
        with_retry_min = retry_min: Duration;
        with_retry_max = retry_max: Duration;
        with_resign_after = resign_after: Duration;
        with_drain_max = drain_max: Duration;
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        above_zero(&[
            ("heartbeat", self.heartbeat),
            ("gate_timeout", self.gate_timeout),
            ("retry_min", self.retry_min),
            ("retry_max", self.retry_max),
            ("resign_after", self.resign_after),
            ("drain_max", self.drain_max),
        ])?;
        bounded(&[("batch_linger", self.batch_linger)])?;
        at_least_one(&[
            ("batch_changes_max", self.batch_changes_max),
            ("batch_bytes_max", self.batch_bytes_max),
            ("keys_per_command_max", self.keys_per_command_max),
        ])
    }
}

#[cfg(test)]
mod tests;
