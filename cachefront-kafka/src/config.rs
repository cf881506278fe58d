//! What a source may be tuned by.

use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};

/// Numbers that a source may be tuned by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct KafkaSettings {
    /// A question to the brokers (topics, offsets) is given up after this time. Default: 5 s.
    pub request_timeout: Duration,
    /// Topics and the ends of partitions are looked at this often: new topics are found by it, and deleted ones.
    /// Default: 1 s.
    pub discovery_interval: Duration,
    /// Records that were fetched and not decoded yet, in bytes; beyond it fetching pauses, so memory stays flat however
    /// far behind the source is. Default: 16 MiB.
    pub fetch_bytes_max: usize,
    /// Decoded events that wait to be taken; beyond it decoding pauses. Default: 8,192.
    pub buffer_events_max: usize,
    /// Transactions that are followed at once while their events or their BEGIN are still to come. When a partition is
    /// that far ahead of the others it is paused. Default: 10,000.
    pub open_transactions_max: usize,
    /// Ranges that the position keeps for each server: without a marker, every transaction on a table that the
    /// connector does not read leaves a hole, and the position must not grow with them. Default: 64.
    pub position_ranges_max: usize,
    /// A transaction whose events are still missing this long after everything on the topics was read has lost them,
    /// which is a gap. So has one whose BEGIN is missing, unless no transaction is told at all: then the source goes on,
    /// and claims no positions. Default: 10 s, well above the delivery retries of a healthy connector.
    pub completion_timeout: Duration,
    /// Offsets are committed to the group at most this often; they are for monitoring, the position that counts is in
    /// the store. Default: 1 s.
    pub commit_interval: Duration,
    /// A member of the group that is silent for this long has died, and another one leads. Default: 6 s, the least that
    /// brokers accept by default.
    pub session_timeout: Duration,
    /// How many records before a partition's end are read again when a new generation begins: among them are the
    /// commits that the log delivered before readers could see them. It is doubled as long as that is not far enough.
    /// Default: 1,000.
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
            return Err(invalid(format!("`{name}` is zero: give a duration above zero")));
        }
        let numbers = [
            ("fetch_bytes_max", self.fetch_bytes_max),
            ("buffer_events_max", self.buffer_events_max),
            ("open_transactions_max", self.open_transactions_max),
            ("position_ranges_max", self.position_ranges_max),
            ("tail_records", self.tail_records as usize),
        ];
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((name, _)) => Err(invalid(format!("`{name}` is zero: give at least 1"))),
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
        let zero = KafkaSettings { session_timeout: Duration::ZERO, ..Default::default() };
        assert!(zero.validate().expect_err("zero").to_string().contains("`session_timeout`"));
        let none = KafkaSettings { tail_records: 0, ..Default::default() };
        assert!(none.validate().expect_err("zero").to_string().contains("`tail_records`"));
    }
}
