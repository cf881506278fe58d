//! The settings of a source, and the rules of its preflight.

use std::time::Duration;

use cachefront_core::backoff::DURATION_MAX;
use cachefront_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Timeouts and limits of a [`BinlogSource`](crate::BinlogSource).
///
/// `#[non_exhaustive]`: start from `default()` and override fields. A file of settings has the form that
/// [`settings`](cachefront_core::settings) describes.
///
/// ```
/// use std::time::Duration;
/// use cachefront::binlog::BinlogSettings;
///
/// let settings = BinlogSettings::default().with_heartbeat(Duration::from_millis(500));
/// settings.validate().expect("the settings are in range");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BinlogSettings {
    /// Maximum time until a new connection is logged in. Default: 5 s.
    pub connect_timeout: Duration,
    /// Maximum time for a query about settings, positions or columns, and for each of those about triggers, views and foreign keys:
    /// one that takes longer leaves these unknown, and a statement that is logged without its rows then flushes everything.
    /// Default: 5 s.
    pub query_timeout: Duration,
    /// Maximum time for the queries of one preflight about the server, and for those about each mapped table. Default: 30 s.
    pub preflight_timeout: Duration,
    /// The probe replaces its connection after this time. This detects that the address leads to another server although
    /// the connection is alive. Default: 5 s.
    pub probe_redial: Duration,
    /// The server sends a heartbeat after this time without an event. Default: 1 s.
    pub heartbeat: Duration,
    /// Without an event or a heartbeat for this long, the server counts as unresponsive and the log ends with an error.
    /// MariaDB sends neither while it searches its log for the position, so the first event from it may take
    /// `preflight_timeout`. Default: 3 s, three heartbeats.
    pub read_deadline: Duration,
    /// Maximum size of the decoded changes that are buffered, in bytes, about; beyond it reading pauses. Default: 16 MiB.
    pub buffer_bytes_max: usize,
    /// A transaction with more row changes is delivered in parts of about this many. Default: 1,000.
    pub part_changes_max: usize,
    /// A transaction with more bytes of log is delivered in parts of about this size. Default: 1 MiB.
    pub part_bytes_max: usize,
    /// Maximum size of one event of the log, in bytes, also of one in a compressed transaction. A larger one is an error of kind
    /// `Config`. Default: 1 GiB, MySQL's own limit.
    pub event_bytes_max: usize,
    /// The preflight warns if the server removes its logs sooner than this: a longer outage of the invalidator is then a
    /// gap. Default: 1 day.
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
    cachefront_core::settings_setters! {
        with_connect_timeout = connect_timeout: Duration;
        with_query_timeout = query_timeout: Duration;
        with_preflight_timeout = preflight_timeout: Duration;
        with_probe_redial = probe_redial: Duration;
        with_heartbeat = heartbeat: Duration;
        with_read_deadline = read_deadline: Duration;
        with_buffer_bytes_max = buffer_bytes_max: usize;
        with_part_changes_max = part_changes_max: usize;
        with_part_bytes_max = part_bytes_max: usize;
        with_event_bytes_max = event_bytes_max: usize;
        with_retention_min = retention_min: Duration;
    }

    /// Checks that every value is in range.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("query_timeout", self.query_timeout),
            ("preflight_timeout", self.preflight_timeout),
            ("probe_redial", self.probe_redial),
            ("heartbeat", self.heartbeat),
            ("read_deadline", self.read_deadline),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, duration)| duration.is_zero()) {
            return Err(invalid(format!("`{name}` is zero: give a duration above zero")));
        }
        if let Some((name, _)) = durations.iter().find(|(_, duration)| *duration > DURATION_MAX) {
            return Err(invalid(format!("`{name}` is longer than 365 days: give a shorter duration")));
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

/// What the preflight does about a mapped text column whose collation treats different bytes as equal.
///
/// With such a collation a load of `ADA@x` finds the row `ada@x`. The changes of that row name `ada@x` only, so they do not
/// invalidate the entry `ADA@x`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Collations {
    /// Refuses to start, and names the ALTER TABLE that fixes it.
    #[default]
    Refuse,
    /// Warns and starts. This is correct if readers and `depends_on` normalise every key with the same function; an entry
    /// with another spelling is stale until its time to live ends.
    Warn,
}

/// Which decoder reads the rows of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowDecoder {
    /// That of this crate: it reads only the columns that mappings need.
    #[default]
    Own,
    /// The crate `mysql_cdc` where it is exact, and that of this crate for everything else.
    #[cfg(feature = "mysql-cdc")]
    MySqlCdc,
}

/// Returns the time after `limit`, or after [`DURATION_MAX`] if that is shorter.
pub(crate) fn deadline_after(limit: Duration) -> Instant {
    Instant::now() + limit.min(DURATION_MAX)
}

/// An error of kind `Config`.
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
        type With = fn(BinlogSettings, Duration) -> BinlogSettings;
        let with: [(&str, With); 6] = [
            ("`connect_timeout`", BinlogSettings::with_connect_timeout),
            ("`query_timeout`", BinlogSettings::with_query_timeout),
            ("`preflight_timeout`", BinlogSettings::with_preflight_timeout),
            ("`probe_redial`", BinlogSettings::with_probe_redial),
            ("`heartbeat`", BinlogSettings::with_heartbeat),
            ("`read_deadline`", BinlogSettings::with_read_deadline),
        ];
        for (name, with) in with {
            let long = with(BinlogSettings::default(), Duration::MAX).validate().expect_err("too long").to_string();
            assert!(long.contains(name) && long.contains("365 days"), "{long}");
        }
        BinlogSettings::default().with_query_timeout(DURATION_MAX).validate().expect("a year");
    }

    #[test]
    fn no_wait_overflows() {
        let day = Duration::from_secs(86_400);
        for limit in [Duration::MAX, Duration::from_secs(u64::MAX >> 1), DURATION_MAX] {
            assert!(deadline_after(limit) > Instant::now() + DURATION_MAX - day, "{limit:?}");
        }
        assert!(deadline_after(day) < Instant::now() + 2 * day);
    }

    #[test]
    fn settings_are_read_by_field_and_unknown_fields_are_refused() {
        let settings: BinlogSettings =
            serde_json::from_str(r#"{"heartbeat": {"secs": 2, "nanos": 0}, "part_changes_max": 7}"#).expect("settings");
        let expected = BinlogSettings::default().with_heartbeat(Duration::from_secs(2)).with_part_changes_max(7);
        assert_eq!(settings, expected);
        serde_json::from_str::<BinlogSettings>(r#"{"heart_beat": 7}"#).expect_err("an unknown field");
    }
}
