//! Settings of the inspector.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::settings::checks::{above_zero, at_least_one};

/// Settings of an [`Inspector`](crate::Inspector).
///
/// ```
/// use cachefront::InspectSettings;
///
/// let settings = InspectSettings::default().with_repair(true).with_sample_max(1_000);
/// settings.validate()?;
/// # Ok::<(), cachefront::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InspectSettings {
    /// Whether an entry that is stale for good, because its invalidation was lost or its mapping is wrong, is removed from
    /// all tiers of all processes. Default: `false`: it is only reported.
    pub repair: bool,
    /// Pause between two passes over a sample. Default: 10 s. 0: passes run on demand only.
    pub pass_every: Duration,
    /// Maximum number of keys of one cache that a pass samples. Default: 200, a few milliseconds of a store's time.
    pub sample_max: usize,
    /// Maximum number of keys in one load of many. Default: 200.
    pub keys_per_load_max: usize,
    /// Maximum number of entries that are peeked at concurrently. Default: 64, so that a slow store does not cost a pass the
    /// sum of its round trips.
    pub peeks_max: usize,
    /// Maximum number of rows that are loaded concurrently. Default: 4: a database has few connections, and the service
    /// needs them.
    pub loads_max: usize,
    /// Timeout of a load, and of a read of the log's end. Default: 5 s.
    pub load_timeout: Duration,
    /// Timeout of a pass. Default: 30 s.
    pub pass_timeout: Duration,
    /// How long after a difference was found the entry is peeked at again: its invalidation may be in progress.
    /// Default: 100 ms, many times the latency of an invalidation.
    pub grace: Duration,
    /// Maximum number of changes of keys that are remembered, to tell a late invalidation from a lost one, and which change
    /// it was. Default: 65,536, about 16 MiB.
    pub keys_max: usize,
    /// Maximum number of checks that wait for their time, four for each changed key: the changes of five minutes. Further
    /// changes are not checked, and counted. Default: 65,536, about 32 MiB.
    pub checks_max: usize,
    /// Maximum number of stale entries that are watched until they are gone, and of cached keys that one pass hands to the
    /// next. Default: 1,000.
    pub suspects_max: usize,
    /// Maximum number of findings, and of checks that found an older value, in a report; the oldest are dropped.
    /// Default: 100.
    pub findings_max: usize,
    /// Maximum number of row changes in one read of the log. Default: 1,000, as the invalidator's.
    pub batch_changes_max: usize,
    /// Maximum size of the log in one read, in bytes, approximately. Default: 4 MiB.
    pub batch_bytes_max: usize,
    /// The first pause after a failure of the source; it doubles up to `retry_max`. Default: 100 ms.
    pub retry_min: Duration,
    /// The maximum pause between retries, and of a read of the log that finds no change. Default: 5 s.
    pub retry_max: Duration,
}

impl Default for InspectSettings {
    fn default() -> Self {
        Self {
            repair: false,
            pass_every: Duration::from_secs(10),
            sample_max: 200,
            keys_per_load_max: 200,
            peeks_max: 64,
            loads_max: 4,
            load_timeout: Duration::from_secs(5),
            pass_timeout: Duration::from_secs(30),
            grace: Duration::from_millis(100),
            keys_max: 65_536,
            checks_max: 65_536,
            suspects_max: 1_000,
            findings_max: 100,
            batch_changes_max: 1_000,
            batch_bytes_max: 4 << 20,
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
        }
    }
}

impl InspectSettings {
    settings_setters! {
        with_repair = repair: bool;
        with_pass_every = pass_every: Duration;
        with_sample_max = sample_max: usize;
        with_keys_per_load_max = keys_per_load_max: usize;
        with_peeks_max = peeks_max: usize;
        with_loads_max = loads_max: usize;
        with_load_timeout = load_timeout: Duration;
        with_pass_timeout = pass_timeout: Duration;
        with_grace = grace: Duration;
        with_keys_max = keys_max: usize;
        with_checks_max = checks_max: usize;
        with_suspects_max = suspects_max: usize;
        with_findings_max = findings_max: usize;
        with_batch_changes_max = batch_changes_max: usize;
        with_batch_bytes_max = batch_bytes_max: usize;
        with_retry_min = retry_min: Duration;
        with_retry_max = retry_max: Duration;
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        above_zero(&[
            ("load_timeout", self.load_timeout),
            ("pass_timeout", self.pass_timeout),
            ("grace", self.grace),
            ("retry_min", self.retry_min),
            ("retry_max", self.retry_max),
        ])?;
        at_least_one(&[
            ("sample_max", self.sample_max),
            ("keys_per_load_max", self.keys_per_load_max),
            ("peeks_max", self.peeks_max),
            ("loads_max", self.loads_max),
            ("keys_max", self.keys_max),
            ("checks_max", self.checks_max),
            ("suspects_max", self.suspects_max),
            ("findings_max", self.findings_max),
            ("batch_changes_max", self.batch_changes_max),
            ("batch_bytes_max", self.batch_bytes_max),
        ])
    }
}
