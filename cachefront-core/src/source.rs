//! The change source: where committed changes come from, in commit order.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::event::Batch;
use crate::gate::VisibilityGate;

pub use crate::checkpoint::Checkpoint;
pub use crate::filter::{Columns, TableFilter};

/// The source's end, as read from the server that commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Everything committed; the source's own note rides along.
    pub checkpoint: Checkpoint,
    /// Which server this is, e.g. MySQL's `server_uuid`. Another one than before is a gap.
    pub origin: Box<str>,
}

/// How much a source may hand over at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most this many row changes; a transaction with more comes in parts.
    pub changes_max: usize,
    /// At most about this many bytes of log.
    pub bytes_max: usize,
    /// Wait at most this long for the first change; then an empty batch is answered.
    pub wait_max: Duration,
    /// Once something is there, wait at most this long for more.
    pub linger_max: Duration,
}

/// Who decides which of several invalidators of one namespace works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Not the source. The store's term decides: the newest invalidator works, the others take over when it falls
    /// silent.
    Undecided,
    /// The source has chosen this one, and tells the others to wait: a consumer group, for one.
    Elected,
}

/// Delivers committed changes, in commit order, from a position on.
///
/// # Delivery
/// At least once: every change after the position that [`open`](ChangeSource::open) was given, none skipped. What the
/// source cannot deliver or understand is an error of kind [`Gap`](crate::ErrorKind::Gap), never silence.
///
/// # Ordering
/// Transactions come in the order of the source's log. Two changes of one row are never swapped. A source whose log
/// has several partitions may hand over a transaction in parts with others between them; its position then moves when
/// the last part was handed over.
///
/// # Duplicates
/// Allowed after [`open`](ChangeSource::open) and after a reconnect; receivers are idempotent.
///
/// # Cancel safety
/// [`next_batch`](ChangeSource::next_batch) is cancel safe: if its future is dropped, no change is lost. The others
/// are not; after a dropped [`open`](ChangeSource::open), call it again.
///
/// # Errors
/// `Gap` if changes after the position are gone; `Unavailable` or `Timeout` if the server is (call
/// [`open`](ChangeSource::open) again, with back-off); `Config` if trying again is no use.
#[async_trait]
pub trait ChangeSource: fmt::Debug + Send + 'static {
    /// The source in a few words for logs, without secrets: `binlog of db:3306`.
    fn describe(&self) -> String;

    /// Looks at the server's settings, rights and mapped tables before anything is read.
    ///
    /// Answers findings that do not forbid a start, as sentences for the log.
    ///
    /// # Errors
    /// `Config` with the setting and what mends it, if the source could not be exact; else as the trait says.
    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>>;

    /// Waits until this source is the one that may read, where a means of its own decides that among several.
    ///
    /// The invalidator calls this before it takes the store's term, so that those who wait disturb nobody.
    /// Default: [`Lead::Undecided`], at once.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    ///
    /// # Errors
    /// As the trait says.
    async fn lead(&mut self) -> Result<Lead> {
        Ok(Lead::Undecided)
    }

    /// Begins (again) after `from`.
    ///
    /// # Errors
    /// As the trait says.
    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()>;

    /// The server that the log is read from since the last successful [`open`](ChangeSource::open), in the form of
    /// [`Head::origin`]. `None` if the source cannot tell. An origin other than the one that the head named is a gap.
    ///
    /// Default: `None`.
    fn origin(&self) -> Option<Box<str>> {
        None
    }

    /// The next changes. Empty after `wait_max` without any; the checkpoint may move all the same.
    ///
    /// # Errors
    /// As the trait says.
    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch>;

    /// Told after everything up to `checkpoint` has taken effect. A source that keeps a position elsewhere moves it.
    ///
    /// # Errors
    /// As the trait says; nothing is lost if this fails.
    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// Told that another invalidator works and this one stands by: what only reading needs, as a connection to the log,
    /// can be closed. [`open`](ChangeSource::open) comes before anything is read again.
    ///
    /// Default: nothing is done.
    async fn close(&mut self) {}

    /// Asks for the source's end while [`next_batch`](ChangeSource::next_batch) waits.
    fn probe(&self) -> Arc<dyn SourceProbe>;

    /// The gate that fits this source: it waits on the server that the log comes from.
    fn gate(&self) -> Option<Arc<dyn VisibilityGate>>;
}

/// Answers where the source's log ends now.
#[async_trait]
pub trait SourceProbe: fmt::Debug + Send + Sync + 'static {
    /// The end of the log: every commit that readers could see when this was called is in it.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing but the question is lost.
    ///
    /// # Errors
    /// As [`ChangeSource`] says.
    async fn head(&self) -> Result<Head>;

    /// True if the server that the last [`head`](SourceProbe::head) came from commits by itself: then the time of the
    /// question bounds how stale a value is. The end of a replica's log is not the end of its primary's, and bounds
    /// nothing ("Source time" in docs/protocol.md).
    ///
    /// Default: true.
    fn proves_time(&self) -> bool {
        true
    }
}
