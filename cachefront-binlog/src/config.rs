//! What a source may be tuned by, and what it does about a finding.

use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};

/// Numbers that a source may be tuned by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BinlogSettings {
    /// A connection must be up and logged in within this time. Default: 5 s.
    pub connect_timeout: Duration,
    /// A question about settings, positions or columns is given up after this time. Default: 5 s.
    pub query_timeout: Duration,
    /// All questions of one preflight together are given up after this time. Default: 30 s.
    pub preflight_timeout: Duration,
    /// The probe replaces its connection after this time, so that it notices that the address leads to another server
    /// although the connection is alive. Default: 5 s.
    pub probe_redial: Duration,
    /// The server sends a sign of life after this time without an event. Default: 1 s.
    pub heartbeat: Duration,
    /// Without an event or a sign of life for this long the server counts as frozen, and the source reconnects.
    /// Default: 3 s, three heartbeats.
    pub read_deadline: Duration,
    /// At most about this many bytes of decoded changes wait to be fetched; beyond it reading pauses. Default: 16 MiB.
    pub buffer_bytes_max: usize,
    /// A transaction with more row changes is handed over in parts of about this many. Default: 1,000.
    pub part_changes_max: usize,
    /// A transaction with more bytes of log is handed over in parts of about this many. Default: 1 MiB.
    pub part_bytes_max: usize,
    /// A single event of the log may have at most this many bytes. Default: 1 GiB, MySQL's own limit.
    pub event_bytes_max: usize,
    /// Warn if the server removes its logs sooner than this: a longer outage of the invalidator is then a gap.
    /// Default: 1 day.
    pub retention_min: Duration,
}

impl Default for BinlogSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(5),
            preflight_timeout: Duration::from_secs(30),
            probe_redial: Duration::from_secs(5),
            heartbeat: Duration::from_secs(1),
            read_deadline: Duration::from_secs(3),
            buffer_bytes_max: 16 << 20,
            part_changes_max: 1_000,
            part_bytes_max: 1 << 20,
            event_bytes_max: 1 << 30,
            retention_min: Duration::from_secs(86_400),
        }
    }
}

impl BinlogSettings {
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("query_timeout", self.query_timeout),
            ("preflight_timeout", self.preflight_timeout),
            ("probe_redial", self.probe_redial),
            ("heartbeat", self.heartbeat),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, duration)| duration.is_zero()) {
            return Err(invalid(format!("`{name}` is zero: give a duration above zero")));
        }
        if self.read_deadline <= self.heartbeat {
            return Err(invalid(
                "`read_deadline` must be longer than `heartbeat`: three times as long is usual".into(),
            ));
        }
        let numbers = [
            ("buffer_bytes_max", self.buffer_bytes_max),
            ("part_changes_max", self.part_changes_max),
            ("part_bytes_max", self.part_bytes_max),
            ("event_bytes_max", self.event_bytes_max),
        ];
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((name, _)) => Err(invalid(format!("`{name}` is zero: give at least 1"))),
            None => Ok(()),
        }
    }
}

/// What the preflight does about a mapped text column whose collation makes unequal bytes equal.
///
/// A read by `ADA@x` then finds the row `ada@x`, whose changes name `ada@x` only: the entry under `ADA@x` would never
/// be invalidated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Collations {
    /// Refuse to start, and say which ALTER TABLE fixes it.
    #[default]
    Refuse,
    /// Say so in the log and start: right if the same function normalises every key, in readers and in `depends_on`.
    /// Where it does not, an entry under another spelling is served until its time to live ends.
    Warn,
}

pub(crate) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        BinlogSettings::default().validate().expect("the defaults are valid");
        let zero = BinlogSettings { heartbeat: Duration::ZERO, ..Default::default() };
        assert!(zero.validate().expect_err("zero").to_string().contains("`heartbeat`"));
        let short = BinlogSettings { read_deadline: Duration::from_secs(1), ..Default::default() };
        assert!(short.validate().expect_err("too short").to_string().contains("`read_deadline`"));
    }
}
