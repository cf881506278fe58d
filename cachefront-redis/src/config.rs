//! The settings of a store: timeouts, batch sizes and limits.

use std::time::Duration;

use cachefront_core::Result;
use cachefront_core::backoff::DURATION_MAX;
use serde::{Deserialize, Serialize};

use crate::error::invalid;

/// How long a connection may be silent before TCP sends a keep-alive probe, in seconds: what Linux accepts.
const KEEPALIVE_SECONDS: std::ops::RangeInclusive<u64> = 1..=32_767;

/// Timeouts and limits of a [`RedisStore`](crate::RedisStore).
///
/// `#[non_exhaustive]`: start from `default()` and override fields. A file of settings has the form that
/// [`settings`](cachefront_core::settings) describes.
///
/// ```
/// use std::time::Duration;
/// use cachefront::redis::RedisSettings;
///
/// let settings = RedisSettings::default().with_response_timeout(Duration::from_millis(300));
/// assert_eq!(settings.response_timeout, Duration::from_millis(300));
/// settings.validate().expect("the settings are in range");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisSettings {
    /// Maximum time until a new connection is ready, including TLS and login. Default: 1 s.
    pub connect_timeout: Duration,
    /// How long a connection may be silent before TCP sends a keep-alive probe to the other host, from 1 s to 32,767 s, in whole
    /// seconds. After as long again without a reply the connection ends. So a host that vanished is noticed by what only waits,
    /// such as the subscription to a Sentinel. Default: 15 s, well below the idle times of firewalls.
    pub tcp_keepalive: Duration,
    /// Maximum time for a reader's command. After that its outcome is unknown and the connection is replaced.
    /// Default: 1 s, far above a healthy server's latency.
    pub response_timeout: Duration,
    /// How long a reader waits for a command before it goes to the database; the connection is kept until
    /// `response_timeout`. Default: 250 ms, so that a server that pauses costs no request its own timeout.
    pub read_timeout: Duration,
    /// Maximum time for an invalidator's command, which carries many keys. Default: 5 s.
    pub writer_response_timeout: Duration,
    /// Number of replicas that must have an invalidation before it counts as applied (`WAIT`). Default: 0: the primary's
    /// reply is enough, and a failover may lose what was applied until it is repeated. In a cluster each node that was
    /// written to needs that many replicas. If fewer confirm in time, the batch is not applied and is repeated.
    pub wait_replicas: usize,
    /// Maximum time to wait for these replicas, per batch. It must be shorter than `writer_response_timeout`, and than five
    /// heartbeats of the invalidators ([`CdcSettings::heartbeat`](cachefront_core::CdcSettings::heartbeat): 1.25 s by default),
    /// or `Cdc::spawn` fails: a holder that waits longer would be taken for dead. Default: 1 s.
    pub wait_timeout: Duration,
    /// The first pause between two attempts to reconnect; it doubles up to `reconnect_max`. Each pause is shortened by a
    /// random part of up to a half, so that processes do not reconnect in step. Default: 50 ms.
    pub reconnect_min: Duration,
    /// The longest pause between two attempts to reconnect. Default: 1 s: readers recover soon after an outage ends.
    pub reconnect_max: Duration,
    /// Maximum number of concurrent reads that share one `MGET`. Default: 256: a larger batch delays other commands and
    /// saves no more round trips.
    pub read_batch_keys_max: usize,
    /// Maximum number of keys in one command of `get_many`, `discard` and `invalidate`. Default: 1,000: the server runs
    /// one command at a time, and every other client waits meanwhile.
    pub keys_per_command_max: usize,
    /// Minimum number of messages that the bus keeps for readers that are behind; the server may keep a few more.
    /// Default: 1,024.
    pub bus_messages_max: usize,
    /// How long one read of the bus blocks at the server before it is repeated. Default: 5 s. A reader detects an
    /// unresponsive server after this time plus `response_timeout`.
    pub bus_block: Duration,
    /// Number of the server's keys that one step of [`keys`](crate::RedisStore::keys) and
    /// [`clear`](crate::RedisStore::clear) visits (`SCAN COUNT`). Default: 1,000, which holds up the server for less than
    /// a millisecond.
    pub scan_step_keys: usize,
    /// Maximum number of steps of one call of [`keys`](crate::RedisStore::keys), however many keys other programs have in
    /// the server. Default: 500, which visits about half a million keys.
    pub scan_steps_max: usize,
    /// Maximum time for one call of [`clear`](crate::RedisStore::clear). Default: 60 s, enough for tens of millions of
    /// keys.
    pub clear_timeout: Duration,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            tcp_keepalive: Duration::from_secs(15),
            response_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_millis(250),
            writer_response_timeout: Duration::from_secs(5),
            wait_replicas: 0,
            wait_timeout: Duration::from_secs(1),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(1),
            read_batch_keys_max: 256,
            keys_per_command_max: 1_000,
            bus_messages_max: 1_024,
            bus_block: Duration::from_secs(5),
            scan_step_keys: 1_000,
            scan_steps_max: 500,
            clear_timeout: Duration::from_secs(60),
        }
    }
}

impl RedisSettings {
    cachefront_core::settings_setters! {
        with_connect_timeout = connect_timeout: Duration;
        with_tcp_keepalive = tcp_keepalive: Duration;
        with_response_timeout = response_timeout: Duration;
        with_read_timeout = read_timeout: Duration;
        with_writer_response_timeout = writer_response_timeout: Duration;
        with_wait_replicas = wait_replicas: usize;
        with_wait_timeout = wait_timeout: Duration;
        with_reconnect_min = reconnect_min: Duration;
        with_reconnect_max = reconnect_max: Duration;
        with_read_batch_keys_max = read_batch_keys_max: usize;
        with_keys_per_command_max = keys_per_command_max: usize;
        with_bus_messages_max = bus_messages_max: usize;
        with_bus_block = bus_block: Duration;
        with_scan_step_keys = scan_step_keys: usize;
        with_scan_steps_max = scan_steps_max: usize;
        with_clear_timeout = clear_timeout: Duration;
    }

    /// Checks that every value is in range.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](cachefront_core::ErrorKind::Config), naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("response_timeout", self.response_timeout),
            ("read_timeout", self.read_timeout),
            ("writer_response_timeout", self.writer_response_timeout),
            ("wait_timeout", self.wait_timeout),
            ("reconnect_min", self.reconnect_min),
            ("reconnect_max", self.reconnect_max),
            ("bus_block", self.bus_block),
            ("clear_timeout", self.clear_timeout),
        ];
        // The server counts in milliseconds, and takes a wait of 0 for one without end.
        if let Some((name, _)) = durations.iter().find(|(_, value)| *value < Duration::from_millis(1)) {
            return Err(invalid(format!("`{name}` is below 1 ms: give a longer time")));
        }
        if let Some((name, _)) = durations.iter().find(|(_, value)| *value > DURATION_MAX) {
            return Err(invalid(format!("`{name}` is longer than 365 days: give a shorter time")));
        }
        if !KEEPALIVE_SECONDS.contains(&self.tcp_keepalive.as_secs()) {
            return Err(invalid("`tcp_keepalive` is not what TCP accepts: give 1 s to 32,767 s".to_owned()));
        }
        if self.wait_replicas > 0 && self.wait_timeout >= self.writer_response_timeout {
            return Err(invalid(
                "`wait_timeout` is not shorter than `writer_response_timeout`: the reply to `WAIT` would come too late"
                    .to_owned(),
            ));
        }
        let numbers = [
            ("read_batch_keys_max", self.read_batch_keys_max),
            ("keys_per_command_max", self.keys_per_command_max),
            ("bus_messages_max", self.bus_messages_max),
            ("scan_step_keys", self.scan_step_keys),
            ("scan_steps_max", self.scan_steps_max),
        ];
        match numbers.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(invalid(format!("`{name}` is 0: give at least 1"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_no_clock_can_add_is_refused() {
        type With = fn(RedisSettings, Duration) -> RedisSettings;
        let with: [(&str, With); 10] = [
            ("`connect_timeout`", RedisSettings::with_connect_timeout),
            ("`tcp_keepalive`", RedisSettings::with_tcp_keepalive),
            ("`response_timeout`", RedisSettings::with_response_timeout),
            ("`read_timeout`", RedisSettings::with_read_timeout),
            ("`writer_response_timeout`", RedisSettings::with_writer_response_timeout),
            ("`wait_timeout`", RedisSettings::with_wait_timeout),
            ("`reconnect_min`", RedisSettings::with_reconnect_min),
            ("`reconnect_max`", RedisSettings::with_reconnect_max),
            ("`bus_block`", RedisSettings::with_bus_block),
            ("`clear_timeout`", RedisSettings::with_clear_timeout),
        ];
        for (name, with) in with {
            for duration in [Duration::MAX, Duration::ZERO] {
                let refused = with(RedisSettings::default(), duration).validate().expect_err(name);
                assert!(refused.to_string().contains(name), "{refused}");
            }
        }
        RedisSettings::default().with_connect_timeout(DURATION_MAX).validate().expect("a year");
        RedisSettings::default().with_tcp_keepalive(Duration::from_millis(999)).validate().expect_err("below a second");
    }

    #[test]
    fn settings_are_read_by_field_and_unknown_fields_are_refused() {
        let settings: RedisSettings =
            serde_json::from_str(r#"{"bus_messages_max": 7, "bus_block": {"secs": 1, "nanos": 0}}"#).expect("settings");
        let expected = RedisSettings::default().with_bus_messages_max(7).with_bus_block(Duration::from_secs(1));
        assert_eq!(settings, expected);
        let text = serde_json::to_string(&expected).expect("text");
        assert_eq!(serde_json::from_str::<RedisSettings>(&text).expect("settings"), expected);
        serde_json::from_str::<RedisSettings>(r#"{"bus_message_max": 7}"#).expect_err("an unknown field");
    }
}
