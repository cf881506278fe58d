//! Every metric: its name, labels and meaning. Names never change within a major version.
//!
//! Values of labels that are words are in the table; more may be added. Install a recorder before caches and invalidators are
//! built: they create their handles once.
//!
//! | metric | kind | labels | meaning |
//! |---|---|---|---|
//! | `cachefront_reads_total` | counter | `cache`, `outcome` | reads: `local` and `shared` are hits of these tiers; the others are loaded, because the value was not cached (`miss`), does not prove the level (`unproven`), is older than the freshness objective allows (`outdated`), or has a tag that was invalidated (`tag_invalidated`), or because the caller or the mode asked for it (`bypass`); `stale` was served although its load failed |
//! | `cachefront_shadow_total` | counter | `cache`, `outcome` | reads in shadow mode, by how the cached value compares with the database's: `equal`, `different`, `absent`, `changed` meanwhile |
//! | `cachefront_refreshes_total` | counter | `cache` | loads in the background of values whose time to live ends |
//! | `cachefront_loads_total` | counter | `cache`, `outcome` | loads from the database: a `value`, a row that is `absent`, a value that is `unchanged` since it was cached, `failed` |
//! | `cachefront_load_seconds` | histogram | `cache` | how long a load took |
//! | `cachefront_fills_total` | counter | `cache`, `outcome` | fills of the shared store: `stored`, or refused: `lease_broken` by an invalidation, `generation_changed` by a flush, `no_meta`, read from `other_server`, `behind_fence` or with `no_fence`, not converted by its `codec`, `too_large`, without a time to live because its `policy` panicked, or too many or empty `tags` |
//! | `cachefront_store_errors_total` | counter | `cache`, `operation` | failed store operations, by the same words as `cachefront_store_seconds`; reads used the database |
//! | `cachefront_local_resets_total` | counter | `cache`, `reason` | times the process-local tier was cleared because messages may have been lost: the `connection` broke, a number is missing (`gap`), another `publisher` writes, `silence`, the cache is `not_covered`, the bus is `closed` |
//! | `cachefront_local_on` | gauge | `cache` | 1 while the process-local tier serves |
//! | `cachefront_lagging` | gauge | `cache` | 1 while plain reads fall back because the freshness objective is not met |
//! | `cachefront_store_up` | gauge | `cache` | 0 after a store operation failed, 1 until then and after one succeeded |
//! | `cachefront_breaker_open` | gauge | `cache`, `breaker` | 1 while a circuit breaker refuses calls: `store` for those of the store, `load` for loads |
//! | `cachefront_breaker_openings_total` | counter | `cache`, `breaker` | times a closed circuit breaker has opened |
//! | `cachefront_store_seconds` | histogram | `operation` | time of an operation of a store with a [`StoreMeter`](crate::store::StoreMeter); the words are those of [`Operation`](crate::store::Operation): `get`, `lease`, `fill`, .. |
//! | `cachefront_events_total` | counter | | row changes delivered by the source |
//! | `cachefront_invalidations_total` | counter | | keys invalidated in the store |
//! | `cachefront_row_images_total` | counter | `outcome` | values of changed rows, by what became of the entry: `replaced`, `kept` (it had been loaded after the commit), `removed`, `absent` |
//! | `cachefront_batches_total` | counter | `outcome` | batches `applied`, or interrupted and `repeated` |
//! | `cachefront_flushes_total` | counter | `reason` | flushes: of all caches because the store has `no_meta`, the log has a `gap` or is of `another_server`, the `mode` was changed, the shards of the store differ (`mixed_shards`), or its position cannot be read (`unreadable_checkpoint`); of one cache because a `table` changed as a whole or a row has no `mapping` to keys |
//! | `cachefront_rewinds_total` | counter | | times the store had lost applied invalidations, which were repeated |
//! | `cachefront_gate_seconds` | histogram | | how long a batch waited until its commits were visible |
//! | `cachefront_invalidation_lag_seconds` | histogram | | time from a commit to the invalidation of its keys |
//! | `cachefront_stage_seconds` | histogram | `stage` | latency of a change in one stage: `capture`, `queue`, `read`, `apply` |
//! | `cachefront_bus_seconds` | histogram | `cache` | time from the publication of an invalidation to its effect in a process |
//! | `cachefront_watermark_age_seconds` | gauge | | age of the newest moment at which everything was applied |
//! | `cachefront_source_errors_total` | counter | `kind` | failures of source, gate or store in the invalidator, by [`ErrorKind`](crate::ErrorKind): `config`, `unavailable`, `timeout`, `gap`, `corrupt`, `conflict`, `closed` |
//! | `cachefront_consistency_healthy` | gauge | | 1 if the inspector's last pass found no stale entry, 0 if it did, NaN if it failed |
//! | `cachefront_stale_entries` | gauge | | entries that differed from their rows at the last pass |
//! | `cachefront_stale_entries_by_kind` | gauge | `kind` | the same: `aging`, `late`, `lost`, `mapping` |
//! | `cachefront_inspector_known` | gauge | | 1 if the inspector's last pass succeeded, else 0, and the other gauges are NaN |
//! | `cachefront_inspector_entries` | gauge | | entries that the last pass compared |
//! | `cachefront_inspector_findings_total` | counter | `cache`, `kind` | entries that are stale and that no invalidation will remove: `lost`, `mapping` |
//! | `cachefront_inspector_repairs_total` | counter | `cache` | entries that the inspector removed |
//! | `cachefront_convergence_checks_total` | counter | `within`, `outcome` | consistency checks of changed keys, by time since the commit (`50ms`, `1s`, `5s`, `5min`): `consistent`, `inconsistent`, `superseded` by a newer change, `undecided` |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::striped::Striped;

/// Reads, by the tier of the value.
pub const READS_TOTAL: &str = "cachefront_reads_total";
/// Reads in shadow mode, by how the cached value compares with the database's.
pub const SHADOW_TOTAL: &str = "cachefront_shadow_total";
/// Loads in the background of values whose time to live ends.
pub const REFRESHES_TOTAL: &str = "cachefront_refreshes_total";
/// Loads from the database.
pub const LOADS_TOTAL: &str = "cachefront_loads_total";
/// How long a load took.
pub const LOAD_SECONDS: &str = "cachefront_load_seconds";
/// Fills of the shared store, by outcome.
pub const FILLS_TOTAL: &str = "cachefront_fills_total";
/// Failed store operations.
pub const STORE_ERRORS_TOTAL: &str = "cachefront_store_errors_total";
/// Times the process-local tier was cleared because messages may have been lost.
pub const LOCAL_RESETS_TOTAL: &str = "cachefront_local_resets_total";
/// 1 while the process-local tier serves.
pub const LOCAL_ON: &str = "cachefront_local_on";
/// 1 while plain reads fall back because the freshness objective is not met.
pub const LAGGING: &str = "cachefront_lagging";
/// 0 after a store operation failed, 1 until then and after one succeeded.
pub const STORE_UP: &str = "cachefront_store_up";
/// 1 while a circuit breaker refuses calls.
pub const BREAKER_OPEN: &str = "cachefront_breaker_open";
/// Times a closed circuit breaker has opened.
pub const BREAKER_OPENINGS_TOTAL: &str = "cachefront_breaker_openings_total";
/// Time of an operation of a store with a [`StoreMeter`](crate::store::StoreMeter).
pub const STORE_SECONDS: &str = "cachefront_store_seconds";
/// Row changes delivered by the source.
pub const EVENTS_TOTAL: &str = "cachefront_events_total";
/// Keys invalidated in the store.
pub const INVALIDATIONS_TOTAL: &str = "cachefront_invalidations_total";
/// Values of changed rows, by what became of the entry.
pub const ROW_IMAGES_TOTAL: &str = "cachefront_row_images_total";
/// Batches applied, or interrupted and repeated.
pub const BATCHES_TOTAL: &str = "cachefront_batches_total";
/// Flushes, of all caches or of one.
pub const FLUSHES_TOTAL: &str = "cachefront_flushes_total";
/// Times the store had lost applied invalidations, which were repeated.
pub const REWINDS_TOTAL: &str = "cachefront_rewinds_total";
/// How long a batch waited until its commits were visible.
pub const GATE_SECONDS: &str = "cachefront_gate_seconds";
/// Time from a commit to the invalidation of its keys.
pub const INVALIDATION_LAG_SECONDS: &str = "cachefront_invalidation_lag_seconds";
/// Latency of a change in one stage: `capture` from the commit to the connector that reads the log, `queue` from there into
/// Kafka, `read` from there (or from the commit) to the invalidator, `apply` from the visibility of the commit to the
/// invalidation of the last key. Between the last two is the wait at the gate.
pub const STAGE_SECONDS: &str = "cachefront_stage_seconds";
/// Time from the publication of an invalidation to its effect in a process.
pub const BUS_SECONDS: &str = "cachefront_bus_seconds";
/// The values of `stage`.
const STAGES: [&str; 4] = ["capture", "queue", "read", "apply"];
/// Age of the newest moment at which everything was applied.
pub const WATERMARK_AGE_SECONDS: &str = "cachefront_watermark_age_seconds";
/// Failures of source, gate or store in the invalidator.
pub const SOURCE_ERRORS_TOTAL: &str = "cachefront_source_errors_total";

/// The values of `outcome` in [`SHADOW_TOTAL`].
const SHADOW_OUTCOMES: [&str; 4] = ["equal", "different", "absent", "changed"];
/// 1 if the inspector's last pass found no stale entry.
pub const CONSISTENCY_HEALTHY: &str = "cachefront_consistency_healthy";
/// Entries that differed from their rows at the last pass.
pub const STALE_ENTRIES: &str = "cachefront_stale_entries";
/// The same, by kind.
pub const STALE_ENTRIES_BY_KIND: &str = "cachefront_stale_entries_by_kind";
/// 1 if the inspector's last pass succeeded.
pub const INSPECTOR_KNOWN: &str = "cachefront_inspector_known";
/// Entries that the last pass compared.
pub const INSPECTOR_ENTRIES: &str = "cachefront_inspector_entries";
/// Entries that are stale and that no invalidation will remove.
pub const INSPECTOR_FINDINGS_TOTAL: &str = "cachefront_inspector_findings_total";
/// Entries that the inspector removed.
pub const INSPECTOR_REPAIRS_TOTAL: &str = "cachefront_inspector_repairs_total";
/// Changed keys that were checked at one of the [`HORIZONS`](crate::inspect::HORIZONS) after the commit.
pub const CONVERGENCE_CHECKS_TOTAL: &str = "cachefront_convergence_checks_total";
/// The values of `within`, in the order of the horizons.
const WITHIN: [&str; 4] = ["50ms", "1s", "5s", "5min"];
/// The values of `kind`.
const STALE_KINDS: [&str; 4] = ["aging", "late", "lost", "mapping"];

/// A counter of the recorder, with the count of this cache for [`Cache::stats`](crate::Cache::stats).
#[derive(Clone)]
pub(crate) struct Counted {
    counter: Counter,
    total: Arc<Striped>,
}

impl Counted {
    fn new(counter: Counter) -> Self {
        Self { counter, total: Arc::default() }
    }

    pub(crate) fn increment(&self, by: u64) {
        self.counter.increment(by);
        self.total.add(by);
    }

    /// Returns the count so far.
    pub(crate) fn total(&self) -> u64 {
        self.total.total()
    }
}

/// The metric handles of one cache.
#[derive(Clone)]
pub(crate) struct CacheMetrics {
    name: String,
    pub(crate) hit_local: Counter,
    hits_local: Arc<Striped>,
    pub(crate) hit_shared: Counted,
    pub(crate) miss: Counted,
    pub(crate) unproven: Counted,
    pub(crate) outdated: Counted,
    pub(crate) tag_invalidated: Counted,
    pub(crate) stale: Counted,
    shadow: [Counted; SHADOW_OUTCOMES.len()],
    pub(crate) refreshes: Counter,
    pub(crate) bypass: Counted,
    pub(crate) load_ok: Counted,
    pub(crate) load_absent: Counted,
    pub(crate) load_unchanged: Counted,
    pub(crate) load_failed: Counted,
    pub(crate) load_seconds: Histogram,
    pub(crate) bus_seconds: Histogram,
    pub(crate) fill_stored: Counter,
    pub(crate) local_on: Gauge,
    pub(crate) lagging: Gauge,
    store_up: Gauge,
    /// The gauge is 0, and the next call that succeeds sets it. Most calls succeed and do not touch it.
    store_failed: Arc<AtomicBool>,
}

impl CacheMetrics {
    pub(crate) fn new(cache: &str) -> Self {
        describe();
        let read = |outcome: &'static str| counter!(READS_TOTAL, "cache" => cache.to_owned(), "outcome" => outcome);
        let store_up = gauge!(STORE_UP, "cache" => cache.to_owned());
        // No operation has failed yet; without this, a cache that is not read would report an unreachable store.
        store_up.set(1.0);
        let load = |outcome: &'static str| counter!(LOADS_TOTAL, "cache" => cache.to_owned(), "outcome" => outcome);
        let (read_of, load_of) = (|outcome| Counted::new(read(outcome)), |outcome| Counted::new(load(outcome)));
        Self {
            name: cache.to_owned(),
            hit_local: read("local"),
            hits_local: Arc::default(),
            hit_shared: read_of("shared"),
            miss: read_of("miss"),
            unproven: read_of("unproven"),
            outdated: read_of("outdated"),
            tag_invalidated: read_of("tag_invalidated"),
            stale: read_of("stale"),
            shadow: SHADOW_OUTCOMES
                .map(|outcome| Counted::new(counter!(SHADOW_TOTAL, "cache" => cache.to_owned(), "outcome" => outcome))),
            refreshes: counter!(REFRESHES_TOTAL, "cache" => cache.to_owned()),
            bypass: read_of("bypass"),
            load_ok: load_of("value"),
            load_absent: load_of("absent"),
            load_unchanged: load_of("unchanged"),
            load_failed: load_of("failed"),
            load_seconds: histogram!(LOAD_SECONDS, "cache" => cache.to_owned()),
            bus_seconds: histogram!(BUS_SECONDS, "cache" => cache.to_owned()),
            fill_stored: counter!(FILLS_TOTAL, "cache" => cache.to_owned(), "outcome" => "stored"),
            lagging: gauge!(LAGGING, "cache" => cache.to_owned()),
            local_on: gauge!(LOCAL_ON, "cache" => cache.to_owned()),
            store_up,
            store_failed: Arc::default(),
        }
    }

    /// Counts a hit in the process-local tier where such hits are counted for the statistics.
    pub(crate) fn count_local_hit(&self) {
        self.hits_local.add(1);
    }

    /// Returns the number of hits in the process-local tier that were counted.
    pub(crate) fn hits_local(&self) -> u64 {
        self.hits_local.total()
    }

    /// Counts a read in shadow mode.
    pub(crate) fn shadow(&self, outcome: &str) {
        let counters = SHADOW_OUTCOMES.iter().zip(&self.shadow);
        counters.filter(|(name, _)| **name == outcome).for_each(|(_, counter)| counter.increment(1));
    }

    /// Returns the number of reads in shadow mode with this outcome.
    pub(crate) fn shadow_total(&self, outcome: &str) -> u64 {
        let counters = SHADOW_OUTCOMES.iter().zip(&self.shadow);
        counters.filter(|(name, _)| **name == outcome).map(|(_, counter)| counter.total()).sum()
    }

    pub(crate) fn fill_refused(&self, reason: &'static str) {
        counter!(FILLS_TOTAL, "cache" => self.name.clone(), "outcome" => reason).increment(1);
    }

    /// Returns the gauge and the counter of a circuit breaker.
    pub(crate) fn breaker(&self, breaker: &'static str) -> (Gauge, Counter) {
        let cache = || self.name.clone();
        (
            gauge!(BREAKER_OPEN, "cache" => cache(), "breaker" => breaker),
            counter!(BREAKER_OPENINGS_TOTAL, "cache" => cache(), "breaker" => breaker),
        )
    }

    pub(crate) fn store_failed(&self, operation: &'static str) {
        self.store_up.set(0.0);
        // After the gauge, so that a call that succeeds at the same time, or the next one, sets it.
        self.store_failed.store(true, Ordering::SeqCst);
        counter!(STORE_ERRORS_TOTAL, "cache" => self.name.clone(), "operation" => operation).increment(1);
    }

    /// Notes that the store has replied.
    pub(crate) fn store_replied(&self) {
        if self.store_failed.load(Ordering::Relaxed) {
            self.store_failed.store(false, Ordering::SeqCst);
            self.store_up.set(1.0);
        }
    }

    pub(crate) fn local_reset(&self, reason: &'static str) {
        counter!(LOCAL_RESETS_TOTAL, "cache" => self.name.clone(), "reason" => reason).increment(1);
    }
}

/// The metric handles of one invalidator.
#[derive(Clone)]
pub(crate) struct CdcMetrics {
    pub(crate) events: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) batches_applied: Counter,
    pub(crate) batches_repeated: Counter,
    pub(crate) rewinds: Counter,
    pub(crate) gate_seconds: Histogram,
    pub(crate) lag_seconds: Histogram,
    /// In the order of [`STAGES`].
    pub(crate) stages: [Histogram; STAGES.len()],
    pub(crate) watermark_age: Gauge,
}

impl CdcMetrics {
    pub(crate) fn new() -> Self {
        describe();
        Self {
            events: counter!(EVENTS_TOTAL),
            invalidations: counter!(INVALIDATIONS_TOTAL),
            batches_applied: counter!(BATCHES_TOTAL, "outcome" => "applied"),
            batches_repeated: counter!(BATCHES_TOTAL, "outcome" => "repeated"),
            rewinds: counter!(REWINDS_TOTAL),
            gate_seconds: histogram!(GATE_SECONDS),
            lag_seconds: histogram!(INVALIDATION_LAG_SECONDS),
            stages: STAGES.map(|stage| histogram!(STAGE_SECONDS, "stage" => stage)),
            watermark_age: gauge!(WATERMARK_AGE_SECONDS),
        }
    }

    /// Counts values of changed rows, each by an outcome.
    pub(crate) fn row_images(&self, counts: &[(&'static str, u64)]) {
        for (outcome, count) in counts.iter().filter(|(_, count)| *count > 0) {
            counter!(ROW_IMAGES_TOTAL, "outcome" => *outcome).increment(*count);
        }
    }

    pub(crate) fn flushed(reason: &'static str) {
        counter!(FLUSHES_TOTAL, "reason" => reason).increment(1);
    }

    pub(crate) fn failed(kind: &'static str) {
        counter!(SOURCE_ERRORS_TOTAL, "kind" => kind).increment(1);
    }
}

/// The metric handles of an inspector.
#[derive(Clone)]
pub(crate) struct InspectMetrics;

impl InspectMetrics {
    pub(crate) fn new() -> Self {
        describe_gauge!(CONSISTENCY_HEALTHY, "1 if the last pass found no stale entry, 0 if it did, NaN if it failed");
        describe_gauge!(STALE_ENTRIES, "Entries that differed from their rows at the last pass");
        describe_gauge!(STALE_ENTRIES_BY_KIND, "The same, by kind");
        describe_gauge!(INSPECTOR_KNOWN, "1 if the inspector's last pass succeeded");
        describe_gauge!(INSPECTOR_ENTRIES, "Entries that the inspector's last pass compared");
        describe_counter!(INSPECTOR_FINDINGS_TOTAL, "Entries that are stale and that no invalidation will remove");
        describe_counter!(INSPECTOR_REPAIRS_TOTAL, "Entries that the inspector removed");
        describe_counter!(CONVERGENCE_CHECKS_TOTAL, "Consistency checks of changed keys, by time since the commit");
        Self
    }

    pub(crate) fn checked(&self, horizon: usize, outcome: &'static str) {
        let within = WITHIN.get(horizon).copied().unwrap_or_default();
        counter!(CONVERGENCE_CHECKS_TOTAL, "within" => within, "outcome" => outcome).increment(1);
    }

    pub(crate) fn found(&self, cache: &str, kind: &'static str) {
        counter!(INSPECTOR_FINDINGS_TOTAL, "cache" => cache.to_owned(), "kind" => kind).increment(1);
    }

    pub(crate) fn repaired(&self, cache: &str) {
        counter!(INSPECTOR_REPAIRS_TOTAL, "cache" => cache.to_owned()).increment(1);
    }
}

/// The gauges of an inspector's last pass. One that failed makes them NaN: no alert on a value fires or resolves because
/// of it.
pub(crate) struct PassGauges {
    /// Entries that were compared; `None` if the pass failed.
    pub(crate) compared: Option<u64>,
    /// Stale entries, in the order of [`STALE_KINDS`].
    pub(crate) by_kind: [u64; STALE_KINDS.len()],
}

impl PassGauges {
    pub(crate) const UNKNOWN: Self = Self { compared: None, by_kind: [0; STALE_KINDS.len()] };

    pub(crate) fn publish(&self) {
        let or_nan = |value: u64| if self.compared.is_some() { value as f64 } else { f64::NAN };
        let stale = self.by_kind.iter().sum();
        gauge!(CONSISTENCY_HEALTHY).set(or_nan(u64::from(stale == 0)));
        gauge!(STALE_ENTRIES).set(or_nan(stale));
        for (kind, count) in STALE_KINDS.into_iter().zip(self.by_kind) {
            gauge!(STALE_ENTRIES_BY_KIND, "kind" => kind).set(or_nan(count));
        }
        gauge!(INSPECTOR_KNOWN).set(f64::from(u8::from(self.compared.is_some())));
        gauge!(INSPECTOR_ENTRIES).set(or_nan(self.compared.unwrap_or_default()));
    }
}

pub(crate) fn describe_store() {
    describe_histogram!(STORE_SECONDS, Unit::Seconds, "Time of an operation of the shared store");
}

fn describe() {
    describe_counter!(READS_TOTAL, "Reads, by the tier of the value");
    describe_counter!(SHADOW_TOTAL, "Reads in shadow mode, by how the cached value compares with the database's");
    describe_counter!(REFRESHES_TOTAL, "Loads in the background of values whose time to live ends");
    describe_counter!(LOADS_TOTAL, "Loads from the database");
    describe_histogram!(LOAD_SECONDS, Unit::Seconds, "How long a load took");
    describe_counter!(FILLS_TOTAL, "Fills of the shared store, by outcome");
    describe_counter!(STORE_ERRORS_TOTAL, "Failed store operations; reads used the database");
    describe_counter!(
        LOCAL_RESETS_TOTAL,
        "Times the process-local tier was cleared because messages may have been lost"
    );
    describe_gauge!(LOCAL_ON, "1 while the process-local tier serves");
    describe_gauge!(LAGGING, "1 while plain reads fall back because the freshness objective is not met");
    describe_gauge!(STORE_UP, "0 after a store operation failed, 1 until then and after one succeeded");
    describe_gauge!(BREAKER_OPEN, "1 while a circuit breaker refuses calls");
    describe_counter!(BREAKER_OPENINGS_TOTAL, "Times a closed circuit breaker has opened");
    describe_counter!(EVENTS_TOTAL, "Row changes delivered by the source");
    describe_counter!(INVALIDATIONS_TOTAL, "Keys invalidated in the store");
    describe_counter!(ROW_IMAGES_TOTAL, "Values of changed rows, by what became of the entry");
    describe_counter!(BATCHES_TOTAL, "Batches applied, or interrupted and repeated");
    describe_counter!(FLUSHES_TOTAL, "Flushes, of all caches or of one");
    describe_counter!(REWINDS_TOTAL, "Times the store had lost applied invalidations, which were repeated");
    describe_histogram!(GATE_SECONDS, Unit::Seconds, "How long a batch waited until its commits were visible");
    describe_histogram!(INVALIDATION_LAG_SECONDS, Unit::Seconds, "Time from a commit to the invalidation of its keys");
    describe_histogram!(STAGE_SECONDS, Unit::Seconds, "Latency of a change in one stage on its way to the store");
    describe_histogram!(
        BUS_SECONDS,
        Unit::Seconds,
        "Time from the publication of an invalidation to its effect in a process"
    );
    describe_gauge!(WATERMARK_AGE_SECONDS, Unit::Seconds, "Age of the newest moment at which everything was applied");
    describe_counter!(SOURCE_ERRORS_TOTAL, "Failures of source, gate or store in the invalidator");
}
