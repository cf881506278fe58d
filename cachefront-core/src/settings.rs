//! Every tunable number, with its unit, its default and the reason for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// What a cache may be tuned by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheSettings {
    /// How long a lease stands. Longer than almost every load: when it runs out, somebody else loads too.
    /// Default: 3 s.
    pub lease: Duration,
    /// How long a reader waits for a load that another process runs, before it loads itself. Default: 3 s, as the lease.
    pub lease_wait: Duration,
    /// The first pause of a reader that waits for another process's load; it doubles up to `lease_poll_max`.
    /// Default: 1 ms, about a store's round trip.
    pub lease_poll_min: Duration,
    /// The longest such pause. Default: 25 ms: a tenth of what a person notices.
    pub lease_poll_max: Duration,
    /// At most this many loads run at once; so an outage of the store cannot stampede the database. Default: 64.
    pub loads_max: usize,
    /// At most this many loads wait for their turn; beyond it reads fail as overloaded. Default: 65,536.
    pub loads_waiting_max: usize,
    /// A load is given up after this time, the wait for its turn included. Default: 30 s.
    pub load_timeout: Duration,
    /// How long a session or bounded read loads again when the database that was read is known to lag behind what it
    /// demands; then it fails with [`ErrorKind::Unproven`]. Pauses are those of `lease_poll_min` and `lease_poll_max`.
    /// Default: 2 s, well above a healthy replica's lag.
    pub proof_wait: Duration,
    /// Taken off every staleness bound: how far clocks of processes may differ. Default: 50 ms, what NTP keeps easily.
    pub clock_skew: Duration,
    /// Invalidations of the process-local tier are counted in this many slots (a power of two); two keys that share
    /// a slot are invalidated together. Default: 65,536, half a MiB.
    pub epoch_slots: usize,
    /// The process-local tier is off after this time without a message on the bus. Default: 2 s, several heartbeats.
    pub bus_silence_max: Duration,
    /// The first pause before the bus is subscribed to again; it doubles up to `bus_retry_max`. Default: 20 ms.
    pub bus_retry_min: Duration,
    /// The longest such pause. Default: 1 s.
    pub bus_retry_max: Duration,
    /// How often the coarse clock of the process-local tier ticks. Default: 10 ms: its times to live are exact to that.
    pub tick: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            lease_wait: Duration::from_secs(3),
            lease_poll_min: Duration::from_millis(1),
            lease_poll_max: Duration::from_millis(25),
            loads_max: 64,
            loads_waiting_max: 65_536,
            load_timeout: Duration::from_secs(30),
            proof_wait: Duration::from_secs(2),
            clock_skew: Duration::from_millis(50),
            epoch_slots: 65_536,
            bus_silence_max: Duration::from_secs(2),
            bus_retry_min: Duration::from_millis(20),
            bus_retry_max: Duration::from_secs(1),
            tick: Duration::from_millis(10),
        }
    }
}

impl CacheSettings {
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("lease", self.lease),
            ("lease_wait", self.lease_wait),
            ("lease_poll_min", self.lease_poll_min),
            ("lease_poll_max", self.lease_poll_max),
            ("load_timeout", self.load_timeout),
            ("bus_silence_max", self.bus_silence_max),
            ("bus_retry_min", self.bus_retry_min),
            ("bus_retry_max", self.bus_retry_max),
            ("tick", self.tick),
        ];
        above_zero(&positive)?;
        at_least_one(&[("loads_max", self.loads_max), ("loads_waiting_max", self.loads_waiting_max)])?;
        if !self.epoch_slots.is_power_of_two() {
            return Err(invalid(format!("`epoch_slots` is {}: give a power of two", self.epoch_slots)));
        }
        Ok(())
    }
}

/// What an invalidator may be tuned by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CdcSettings {
    /// At most this many row changes in a batch. Default: 1,000: beyond it a pipeline gains nothing more.
    pub batch_changes_max: usize,
    /// At most about this many bytes of log in a batch. Default: 4 MiB.
    pub batch_bytes_max: usize,
    /// How long a batch that has something waits for more. Default: 0: what is there is taken, nothing is waited for.
    pub batch_linger: Duration,
    /// At most this many keys in one command to the store. Default: 1,000.
    pub keys_per_command_max: usize,
    /// In a batch of at most this many keys, an entry that was loaded after the commit survives the commit's own event, so
    /// that a service that reads what it has just written does not load it twice. Removing costs the store less than
    /// comparing, so larger batches remove. 0: always remove. Default: 64.
    pub compared_keys_max: usize,
    /// How often the watermark moves, and the bus shows that it lives, while nothing changes. Default: 250 ms.
    pub heartbeat: Duration,
    /// One wait at the visibility gate; when it runs out, the gate is asked again. Default: 1 s.
    pub gate_timeout: Duration,
    /// The first pause after a failure; it doubles up to `retry_max`. Default: 50 ms.
    pub retry_min: Duration,
    /// The longest pause between tries. Default: 5 s.
    pub retry_max: Duration,
    /// A shutdown waits this long for the batch in hand. Default: 10 s.
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
            heartbeat: Duration::from_millis(250),
            gate_timeout: Duration::from_secs(1),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(5),
            drain_max: Duration::from_secs(10),
        }
    }
}

impl CdcSettings {
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        above_zero(&[
            ("heartbeat", self.heartbeat),
            ("gate_timeout", self.gate_timeout),
            ("retry_min", self.retry_min),
            ("retry_max", self.retry_max),
            ("drain_max", self.drain_max),
        ])?;
        at_least_one(&[
            ("batch_changes_max", self.batch_changes_max),
            ("batch_bytes_max", self.batch_bytes_max),
            ("keys_per_command_max", self.keys_per_command_max),
        ])
    }
}

fn above_zero(fields: &[(&str, Duration)]) -> Result<()> {
    match fields.iter().find(|(_, duration)| duration.is_zero()) {
        Some((name, _)) => Err(invalid(format!("`{name}` is zero: give a duration above zero"))),
        None => Ok(()),
    }
}

fn at_least_one(fields: &[(&str, usize)]) -> Result<()> {
    match fields.iter().find(|(_, number)| *number == 0) {
        Some((name, _)) => Err(invalid(format!("`{name}` is zero: give at least 1"))),
        None => Ok(()),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}
