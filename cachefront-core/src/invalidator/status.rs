//! The status of an invalidator.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::position::Position;
use crate::store::InvalidationMode;

/// What an invalidator is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The first session found a configuration error; it has ended.
    Failed,
    /// It was shut down.
    Stopped,
}

/// The status of an invalidator.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CdcStatus {
    /// Its state.
    pub state: CdcState,
    /// Its mode.
    pub mode: InvalidationMode,
    /// The source's description.
    pub source: String,
    /// Everything up to here is done.
    pub applied: Position,
    /// The newest time at which everything was applied; unknown before the first.
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
    /// The last error; `None` once the invalidator runs or stands by without one.
    pub last_error: Option<Error>,
}

impl CdcStatus {
    pub(crate) fn starting(mode: InvalidationMode, source: String) -> Self {
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
            last_error: None,
        }
    }

    /// Returns how far behind the source the store may be at `now`; `None` if that is not known.
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        self.source_time.is_known().then(|| now.since(self.source_time))
    }
}
