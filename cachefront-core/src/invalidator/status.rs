//! What an invalidator says of itself.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::position::Position;
use crate::store::InvalidationMode;

/// What an invalidator is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CdcState {
    /// It has not applied anything yet.
    Starting,
    /// It applies changes, or reads them in TTL mode.
    Running,
    /// Another invalidator holds the term, or the source has chosen another one; this one takes over when that one leaves
    /// or falls silent.
    Standby,
    /// Something failed; it tries again.
    Retrying,
    /// Its first try found a mistake in the set-up; it has ended.
    Failed,
    /// It was shut down.
    Stopped,
}

/// How an invalidator is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CdcStatus {
    /// What it is doing.
    pub state: CdcState,
    /// The mode it works in.
    pub mode: InvalidationMode,
    /// The source, in words.
    pub source: String,
    /// Everything up to here is done.
    pub applied: Position,
    /// The newest moment at which everything was applied; unknown before the first.
    pub source_time: Timestamp,
    /// Row changes delivered.
    pub events_total: u64,
    /// Keys invalidated.
    pub invalidations_total: u64,
    /// New generations: of everything, after a gap or a switch to CDC mode; or of one cache, whose table changed
    /// as a whole or had a change that could not be mapped.
    pub flushes_total: u64,
    /// Times the store had forgotten something and it was repeated.
    pub rewinds_total: u64,
    /// The bound caches that the source cannot be exact for, by name: nothing of them is cached. See `last_error`.
    pub not_covered: Vec<String>,
    /// The last failure, until something works again.
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

    /// How far behind the source the store may be at `now`; none if that is not known.
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        self.source_time.is_known().then(|| now.since(self.source_time))
    }
}
