//! Settings of the source, and their validation.

use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Maximum of every duration: longer than any useful one, and short enough to be added to any point in time.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The time that the client allows a member between two polls, which may not be shorter.
const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);

/// Settings of a [`KafkaSource`](crate::KafkaSource): limits, intervals and timeouts. A duration is above zero and at most 24 h.
///
/// ```
/// use std::time::Duration;
///
/// use cachefront::kafka::KafkaSettings;
///
/// let settings = KafkaSettings::default().with_fetch_bytes_max(4 << 20).with_completion_timeout(Duration::from_secs(30));
/// settings.validate()?;
/// # Ok::<(), cachefront::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KafkaSettings {
    /// Timeout of a request to the brokers for topics or offsets. Default: 5 s.
    pub request_timeout: Duration,
    /// Interval of metadata refreshes, which find new, deleted and truncated topics. Default: 1 s.
    pub discovery_interval: Duration,
    /// Maximum number of bytes fetched and not yet decoded; fetching pauses above it, so memory stays bounded however far
    /// the source is behind. At most twice as many are decoded and wait, and two more records. Rounded down to whole KiB (librdkafka's
    /// `queued.max.messages.kbytes`). Default: 16 MiB.
    pub fetch_bytes_max: usize,
    /// Maximum number of decoded events that wait for the invalidator; decoding pauses above it, and earlier if they have
    /// `fetch_bytes_max`. Default: 8,192.
    pub buffer_events_max: usize,
    /// Maximum number of transactions that wait for events or their BEGIN. A partition that is this far ahead of the others
    /// is paused. Default: 10,000.
    pub open_transactions_max: usize,
    /// Maximum number of ranges that the position keeps for each server. Without a marker, every transaction on a table
    /// that the connector does not read leaves a hole, and the position must not grow with them. Default: 64.
    pub position_ranges_max: usize,
    /// How long a transaction may miss records after everything on the topics was read; then they count as lost, which is a
    /// gap. If no transaction ever had a BEGIN, the source continues and claims no positions instead. Default: 10 s, well
    /// above the delivery retries of a healthy connector.
    pub completion_timeout: Duration,
    /// Minimum interval between commits of offsets to the group. They are for monitoring; the position that counts is in
    /// the store. Default: 1 s.
    pub commit_interval: Duration,
    /// How long a member of the group may be silent before another one leads. Default: 6 s, the minimum that brokers accept
    /// by default (`group.min.session.timeout.ms`).
    pub session_timeout: Duration,
    /// Number of records before a partition's end that a new generation reads again: they may contain commits that the log
    /// delivered before readers could see them. Doubled until it reaches far enough. Default: 1,000.
    pub tail_records: u32,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            discovery_interval: Duration::from_secs(1),
            fetch_bytes_max: 16 << 20,
            buffer_events_max: 8_192,
            open_transactions_max: 10_000,
            position_ranges_max: 64,
            completion_timeout: Duration::from_secs(10),
            commit_interval: Duration::from_secs(1),
            session_timeout: Duration::from_secs(6),
            tail_records: 1_000,
        }
    }
}

impl KafkaSettings {
    cachefront_core::settings_setters! {
        with_request_timeout = request_timeout: Duration;
        with_discovery_interval = discovery_interval: Duration;
        with_fetch_bytes_max = fetch_bytes_max: usize;
        with_buffer_events_max = buffer_events_max: usize;
        with_open_transactions_max = open_transactions_max: usize;
        with_position_ranges_max = position_ranges_max: usize;
        with_completion_timeout = completion_timeout: Duration;
        with_commit_interval = commit_interval: Duration;
        with_session_timeout = session_timeout: Duration;
        with_tail_records = tail_records: u32;
    }

    /// Checks every setting. [`KafkaSourceBuilder::build`](crate::KafkaSourceBuilder::build) calls it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let durations = [
            ("request_timeout", self.request_timeout),
            ("discovery_interval", self.discovery_interval),
            ("completion_timeout", self.completion_timeout),
            ("commit_interval", self.commit_interval),
            ("session_timeout", self.session_timeout),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, duration)| duration.is_zero()) {
            return Err(invalid(format!("`{name}` is zero: set a duration above zero")));
        }
        if let Some((name, duration)) = durations.iter().find(|(_, duration)| *duration > DURATION_MAX) {
            return Err(invalid(format!("`{name}` is {duration:?}: set at most 24 h")));
        }
        if self.session_timeout > SESSION_TIMEOUT_MAX {
            let message = format!("`session_timeout` is {:?}: set at most 5 min", self.session_timeout);
            return Err(invalid(message));
        }
        let numbers = [
            ("fetch_bytes_max", self.fetch_bytes_max),
            ("buffer_events_max", self.buffer_events_max),
            ("open_transactions_max", self.open_transactions_max),
            ("position_ranges_max", self.position_ranges_max),
            ("tail_records", self.tail_records as usize),
        ];
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((name, _)) => Err(invalid(format!("`{name}` is zero: set at least 1"))),
            None => Ok(()),
        }
    }
}

pub(crate) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        KafkaSettings::default().validate().expect("the defaults are valid");
        let zero = KafkaSettings::default().with_session_timeout(Duration::ZERO);
        assert!(zero.validate().expect_err("zero").to_string().contains("`session_timeout`"));
        let long = [
            KafkaSettings::default().with_request_timeout(Duration::MAX),
            KafkaSettings::default().with_discovery_interval(Duration::MAX),
            KafkaSettings::default().with_completion_timeout(Duration::MAX),
            KafkaSettings::default().with_commit_interval(Duration::MAX),
            KafkaSettings::default().with_session_timeout(DURATION_MAX + Duration::from_nanos(1)),
        ];
        let named =
            ["request_timeout", "discovery_interval", "completion_timeout", "commit_interval", "session_timeout"];
        for (settings, name) in long.iter().zip(named) {
            let error = settings.validate().expect_err("a time that cannot be waited for").to_string();
            assert!(error.contains(&format!("`{name}`")) && error.contains("24 h"), "{error}");
        }
        let long = KafkaSettings::default().with_session_timeout(SESSION_TIMEOUT_MAX + Duration::from_nanos(1));
        let refused = long.validate().expect_err("the client would refuse it").to_string();
        assert!(refused.contains("`session_timeout`") && refused.contains("5 min"), "{refused}");
        let day = KafkaSettings::default().with_completion_timeout(DURATION_MAX);
        day.validate().expect("the maximum is valid");
        let none = KafkaSettings::default().with_tail_records(0);
        assert!(none.validate().expect_err("zero").to_string().contains("`tail_records`"));
    }

    #[test]
    fn settings_survive_serialization_and_unknown_ones_are_refused() {
        let settings = KafkaSettings::default().with_tail_records(7);
        let text = serde_json::to_string(&settings).expect("serializable");
        assert_eq!(serde_json::from_str::<KafkaSettings>(&text).expect("settings"), settings);
        assert!(serde_json::from_str::<KafkaSettings>(r#"{"tail":7}"#).is_err());
    }
}
