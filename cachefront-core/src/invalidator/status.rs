//! The status of an invalidator.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::position::Position;
use crate::store::InvalidationMode;

/// What an invalidator is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CdcState {
    /// It has not started to apply changes yet.
    Starting,
    /// It applies changes, or reads them in TTL mode.
    Running,
    /// Another invalidator holds the term, or the source has elected another one. This one takes over when that one leaves or
    /// falls silent.
    Standby,
    /// An error occurred; it will retry.
    Retrying,
    /// It has ended: its first session found a configuration error, or it panicked.
    Failed,
    /// It was shut down.
    Stopped,
}

impl CdcState {
    /// Returns the state as one lower-case word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Standby => "standby",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for CdcState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The status of an invalidator.
///
/// `Display` makes one line of it for logs. `Serialize` is for a health endpoint: every field by its name, with the state and
/// mode as words, positions and errors as text, `source_time` in microseconds since the epoch, the objective as
/// `objective_seconds`, and in addition `lag_seconds` and `lagging`; what is not known is null.
///
/// ```
/// # use cachefront::{Cdc, Cache, testing::ScriptedSource};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// # let users: Cache<u64, String> =
/// #     Cache::builder("users").depends_on("shop.users", |row| Ok(vec![row.get::<u64>("id")?])).build()?;
/// let cdc = Cdc::new(ScriptedSource::new("server-a")).bind(&users).spawn()?;
/// cdc.ready().await?;
/// let status = cdc.status();
/// println!("{status}"); // a scripted log of server-a: running, lag 1.2ms, 0 changes, ...
/// if status.lag().is_none_or(|lag| lag.as_secs() > 5) {
///     println!("behind by {:?}", status.lag());
/// }
/// # cdc.shutdown().await;
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CdcStatus {
    /// Its state.
    pub state: CdcState,
    /// Its mode.
    pub mode: InvalidationMode,
    /// The source's description.
    pub source: String,
    /// The position up to which all invalidations have been applied.
    pub applied: Position,
    /// The newest time at which everything was applied; unknown before the first, and while another invalidator is active.
    pub source_time: Timestamp,
    /// Number of row changes delivered.
    pub events_total: u64,
    /// Number of keys invalidated.
    pub invalidations_total: u64,
    /// Number of flushes: of every cache, after a gap or a switch to CDC mode; or of one, whose table changed as a whole or had
    /// a change that could not be mapped.
    pub flushes_total: u64,
    /// Number of times that the store had lost invalidations, which were repeated.
    pub rewinds_total: u64,
    /// The names of the bound caches whose changes the source cannot deliver exactly: none of their values is cached. See
    /// `last_error`.
    pub not_covered: Vec<String>,
    /// What the last checks of the source found that does not prevent exact reading, each with its reason and remedy. They are
    /// checked at the start, whenever an invalidator becomes active, and after a change of a table's definition.
    pub warnings: Vec<String>,
    /// The shortest freshness objective of the bound caches: beyond this [`lag`](Self::lag) plain reads of such a cache fall
    /// back. `None` if no bound cache has one.
    pub freshness_objective: Option<Duration>,
    /// The last error; `None` once the invalidator runs or stands by without one. While it runs and does not cover a cache, the
    /// reason.
    pub last_error: Option<Error>,
    /// For the lag.
    clock: Arc<dyn Clock>,
}

impl CdcStatus {
    pub(crate) fn starting(mode: InvalidationMode, source: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            state: CdcState::Starting,
            mode,
            source,
            applied: Position::new(),
            source_time: Timestamp::UNKNOWN,
            events_total: 0,
            invalidations_total: 0,
            flushes_total: 0,
            rewinds_total: 0,
            not_covered: Vec::new(),
            warnings: Vec::new(),
            freshness_objective: None,
            last_error: None,
            clock,
        }
    }

    /// Returns true if plain reads of a bound cache fall back, because the lag is above its freshness objective or not known.
    /// A standby does not know the lag, and returns false.
    pub fn is_lagging(&self) -> bool {
        let objective = self.freshness_objective.filter(|_| self.state != CdcState::Standby);
        objective.is_some_and(|objective| self.lag().is_none_or(|lag| lag > objective))
    }

    /// Returns how far behind the source the store may be now, as far as this status says: it grows while the status is kept.
    /// `None` if that is not known, as before the first heartbeat of a holder, and for a standby.
    pub fn lag(&self) -> Option<Duration> {
        self.lag_at(self.clock.now())
    }

    /// Returns how far behind the source the store may be at `now`; `None` if that is not known.
    pub fn lag_at(&self, now: Timestamp) -> Option<Duration> {
        self.source_time.is_known().then(|| now.since(self.source_time))
    }
}

impl fmt::Display for CdcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.state)?;
        if self.mode == InvalidationMode::Ttl {
            write!(f, " in TTL mode")?;
        }
        match self.lag() {
            Some(lag) => write!(f, ", lag {lag:?}")?,
            None => write!(f, ", lag unknown")?,
        }
        if let Some(objective) = self.freshness_objective.filter(|_| self.is_lagging()) {
            write!(f, " (above the freshness objective, {objective:?})")?;
        }
        write!(f, ", {} changes, {} invalidations", self.events_total, self.invalidations_total)?;
        write!(f, ", {} flushes, {} rewinds", self.flushes_total, self.rewinds_total)?;
        if !self.not_covered.is_empty() {
            write!(f, "; not covered: {}", self.not_covered.join(", "))?;
        }
        match &self.last_error {
            Some(error) => write!(f, "; last error: {}", error.chain()),
            None => Ok(()),
        }
    }
}

impl Serialize for CdcStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("CdcStatus", 15)?;
        fields.serialize_field("state", &self.state)?;
        fields.serialize_field("mode", &self.mode)?;
        fields.serialize_field("source", &self.source)?;
        fields.serialize_field("applied", &self.applied.to_string())?;
        fields.serialize_field("source_time", &self.source_time.is_known().then(|| self.source_time.as_micros()))?;
        fields.serialize_field("lag_seconds", &self.lag().map(|lag| lag.as_secs_f64()))?;
        fields.serialize_field("objective_seconds", &self.freshness_objective.map(|time| time.as_secs_f64()))?;
        fields.serialize_field("lagging", &self.is_lagging())?;
        fields.serialize_field("events_total", &self.events_total)?;
        fields.serialize_field("invalidations_total", &self.invalidations_total)?;
        fields.serialize_field("flushes_total", &self.flushes_total)?;
        fields.serialize_field("rewinds_total", &self.rewinds_total)?;
        fields.serialize_field("not_covered", &self.not_covered)?;
        fields.serialize_field("warnings", &self.warnings)?;
        fields.serialize_field("last_error", &self.last_error.as_ref().map(Error::chain))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;
    use crate::testing::ManualClock;

    #[test]
    fn a_status_is_one_line_and_one_json_object() {
        let clock = ManualClock::new();
        let mut status = CdcStatus::starting(InvalidationMode::Cdc, "a log".into(), Arc::new(clock.clone()));
        assert_eq!(status.lag(), None);
        assert_eq!(
            status.to_string(),
            "a log: starting, lag unknown, 0 changes, 0 invalidations, 0 flushes, 0 rewinds"
        );
        let begun = serde_json::to_value(&status).expect("JSON");
        assert!(begun["lag_seconds"].is_null() && begun["source_time"].is_null() && begun["last_error"].is_null());

        status.state = CdcState::Retrying;
        status.source_time = clock.now();
        status.applied = "a:1-5".parse().expect("a position");
        status.not_covered = vec!["users".into()];
        status.warnings = vec!["images are partial".into()];
        status.last_error = Some(Error::new(ErrorKind::Unavailable, "no server replies"));
        clock.advance(Duration::from_millis(1500));
        assert_eq!(status.lag(), Some(Duration::from_millis(1500)), "a status that is kept proves less and less");
        assert_eq!(
            status.to_string(),
            "a log: retrying, lag 1.5s, 0 changes, 0 invalidations, 0 flushes, 0 rewinds; not covered: users; last error: \
             no server replies"
        );
        let expected = json!({
            "state": "retrying", "mode": "cdc", "source": "a log", "applied": "a:1-5",
            "source_time": status.source_time.as_micros(), "lag_seconds": 1.5, "events_total": 0,
            "objective_seconds": null, "lagging": false,
            "invalidations_total": 0, "flushes_total": 0, "rewinds_total": 0, "not_covered": ["users"],
            "warnings": ["images are partial"], "last_error": "no server replies",
        });
        assert_eq!(serde_json::to_value(&status).expect("JSON"), expected);
    }

    #[test]
    fn a_lag_above_the_objective_is_shown() {
        let clock = ManualClock::new();
        let mut status = CdcStatus::starting(InvalidationMode::Cdc, "a log".into(), Arc::new(clock.clone()));
        assert!(!status.is_lagging(), "no bound cache has an objective");
        status.freshness_objective = Some(Duration::from_secs(2));
        assert!(status.is_lagging(), "the lag is not known");
        (status.source_time, status.state) = (clock.now(), CdcState::Running);
        clock.advance(Duration::from_secs(2));
        assert!(!status.is_lagging());
        assert!(!status.to_string().contains("objective"), "{status}");
        clock.advance(Duration::from_secs(1));
        assert!(status.is_lagging());
        assert!(status.to_string().contains("lag 3s (above the freshness objective, 2s)"), "{status}");
        let json = serde_json::to_value(&status).expect("JSON");
        assert_eq!((&json["lagging"], &json["objective_seconds"]), (&json!(true), &json!(2.0)));
        status.state = CdcState::Standby;
        assert!(!status.is_lagging());
    }
}
