//! The contract of a change source.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::event::Batch;
use crate::filter::TableFilter;
use crate::gate::VisibilityGate;

/// The end of the source's log, as read from the server that commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Everything committed, with the source's resume data.
    pub checkpoint: Checkpoint,
    /// The server's identity, e.g. MySQL's `server_uuid`. Another one than before is a gap.
    pub origin: Box<str>,
}

/// Bounds for one call of [`ChangeSource::next_batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Maximum number of row changes; a larger transaction is delivered in parts.
    pub changes_max: usize,
    /// Maximum size of the log that is read, in bytes, approximately.
    pub bytes_max: usize,
    /// Maximum wait for the first change; an empty batch is returned after it.
    pub wait_max: Duration,
    /// Maximum wait for more changes after the first one.
    pub linger_max: Duration,
}

/// What decides which of several invalidators of a namespace is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lead {
    /// The store's term, not the source: the newest invalidator is active, and the others take over when it falls silent.
    Undecided,
    /// The source has elected this instance and lets the others wait, as a consumer group does.
    Elected,
}

/// Delivers committed changes, in commit order, after a given position.
///
/// # Delivery
/// At least once: every change after the position passed to [`open`](ChangeSource::open), none skipped. A change that the
/// source cannot deliver or understand is an error of kind [`Gap`](crate::ErrorKind::Gap); it is never dropped silently.
///
/// # Ordering
/// Transactions come in the order of the source's log. Two changes of one row are never swapped. A source whose log has
/// several partitions may deliver a transaction in parts, with parts of other transactions in between; its position then
/// moves after the last part.
///
/// # Duplicates
/// Allowed after [`open`](ChangeSource::open) and after a reconnect: applying a change is idempotent.
///
/// # Cancel safety
/// [`next_batch`](ChangeSource::next_batch) is cancel safe: if its future is dropped, no change is lost. The others
/// are not; if one is dropped, [`open`](ChangeSource::open) is called before the next read.
///
/// # Errors
/// `Gap` if changes after the position are gone; `Unavailable` or `Timeout` if the server is (call
/// [`open`](ChangeSource::open) again, with backoff); `Config` if a retry cannot help.
///
/// # Implementing
/// An adapter also implements [`SourceProbe`] and, if its log is MySQL's, a
/// [`VisibilityGate`]. Run `source_suite!` of the feature `testing` against it: one named test
/// for each law of this contract. A wrapper must forward every method, also those with a default.
#[async_trait]
pub trait ChangeSource: fmt::Debug + Send + 'static {
    /// Describes the source for logs, without secrets: `binlog of db:3306`.
    fn describe(&self) -> String;

    /// Checks the server's settings, privileges and mapped tables before any change is read. Returns findings that do not
    /// prevent a start, as sentences for the log.
    ///
    /// # Errors
    /// `Config`, naming the setting and how to fix it, if the source could miss changes; else as the trait says.
    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>>;

    /// Waits until the source elects this instance, if the source has an election of its own. The invalidator calls this
    /// before it takes the store's term, so that waiting instances do not disturb the active one.
    ///
    /// Default: returns [`Lead::Undecided`] at once.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    ///
    /// # Errors
    /// As the trait says.
    async fn lead(&mut self) -> Result<Lead> {
        Ok(Lead::Undecided)
    }

    /// Starts, or restarts, to read after `from`.
    ///
    /// # Errors
    /// As the trait says.
    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()>;

    /// Returns the server that the log is read from since the last successful [`open`](ChangeSource::open), in the form of
    /// [`Head::origin`]; `None` if it is not known. An origin other than that of the head is a gap.
    ///
    /// Default: `None`.
    fn origin(&self) -> Option<Box<str>> {
        None
    }

    /// Returns the next changes; an empty batch after `wait_max` without changes. The checkpoint of an empty batch may be a
    /// later one.
    ///
    /// # Errors
    /// As the trait says.
    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch>;

    /// Notifies the source that everything up to `checkpoint` has taken effect. A source that stores a position elsewhere
    /// moves it.
    ///
    /// # Errors
    /// As the trait says. No change is lost if this fails.
    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// Notifies the source that another invalidator is active: it can close what only reading needs, such as a connection
    /// to the log. [`open`](ChangeSource::open) is called before the next read.
    ///
    /// Default: does not close anything.
    async fn close(&mut self) {}

    /// Notifies the source that this instance has failed for [`resign_after`](crate::CdcSettings::resign_after): one with an
    /// election of its own gives up its place, so that another instance is elected. [`lead`](ChangeSource::lead) is called
    /// before the next read.
    ///
    /// Default: does nothing.
    async fn resign(&mut self) {}

    /// Returns a probe that reads the source's end while [`next_batch`](ChangeSource::next_batch) waits.
    fn probe(&self) -> Arc<dyn SourceProbe>;

    /// Returns the gate that waits on the server that the log comes from; `None` if the source has none.
    fn gate(&self) -> Option<Arc<dyn VisibilityGate>>;
}

/// Reads where the source's log ends.
#[async_trait]
pub trait SourceProbe: fmt::Debug + Send + Sync + 'static {
    /// Returns the end of the log. It contains every commit that was visible to readers when this was called.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// As [`ChangeSource`] says.
    async fn head(&self) -> Result<Head>;

    /// Returns true if the last [`head`](SourceProbe::head) came from a server that commits: the time of the call then bounds
    /// how stale a value is. The end of a replica's log is not the end of its primary's, and bounds no staleness ("Source
    /// time" in docs/protocol.md).
    ///
    /// Default: true.
    fn proves_time(&self) -> bool {
        true
    }
}
