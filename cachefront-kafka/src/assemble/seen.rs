//! What a session has seen of the connector's transaction metadata and snapshots.

use std::sync::Arc;

use cachefront_core::Gtid;

/// Why the source claims no positions after a row without an order in its transaction.
pub(super) const UNCOUNTED: &str = "rows belong to no transaction of the transaction topic. They are of XA transactions: the \
     connector writes such rows when they are prepared, and no record when they are committed, so cached values of these \
     rows may stay stale. Use BinlogSource, which reads the binary log, or keep XA transactions away from the mapped \
     tables. If there are none, set provide.transaction.metadata=true. Rows from before it was set look the same if the \
     transaction topic has lost its first record: delete these rows from their topics. Then restart with an empty store";

/// Why the source claims no positions where a TRUNCATE leaves no record.
pub(super) const HIDDEN_TRUNCATES: &str = "rows are flattened, and the transformation (ExtractNewRecordState) drops the \
     records of TRUNCATE: use the envelope, or state with `never_truncated` that no mapped table is ever truncated";

/// The transaction metadata that a session has read.
///
/// From them it is known whether the connector counts events, and so what a missing order means.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata {
    /// A BEGIN or an END.
    pub(super) bounds: bool,
    /// A row with its order in a transaction.
    pub(super) orders: bool,
    /// The first transaction that the connector has ever counted, if the session read its BEGIN.
    pub(super) first: Option<Gtid>,
    /// For each origin the newest transaction of a row without its order. They are few: servers that were the primary.
    pub(super) without_order: Vec<(Arc<str>, u64)>,
}

impl Metadata {
    pub(super) fn note_without_order(&mut self, gtid: &Gtid) {
        match self.without_order.iter_mut().find(|(origin, _)| *origin == gtid.origin) {
            Some((_, newest)) => *newest = gtid.number.max(*newest),
            None => self.without_order.push((Arc::clone(&gtid.origin), gtid.number)),
        }
    }

    /// True if a row without its order is not older than the first transaction that was counted: it is of no transaction that
    /// the connector counts, though it counts.
    pub(super) fn has_uncounted(&self) -> bool {
        let is_older = |(origin, newest): &(Arc<str>, u64)| {
            self.first.as_ref().is_some_and(|first| first.origin == *origin && *newest < first.number)
        };
        !self.without_order.iter().all(is_older)
    }
}

/// Which part of a full snapshot is being read, and where the snapshot was taken. Its first record flushes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum InSnapshot {
    #[default]
    None,
    /// It lists schemas. Its rows follow, unless it reads none.
    Schemas(Option<Arc<str>>),
    Rows(Option<Arc<str>>),
}

impl InSnapshot {
    /// True if a record of a snapshot that was taken there is of this one. One that failed is repeated elsewhere in the log,
    /// and what is between the two places was never read.
    pub(super) fn is_taken_at(&self, place: Option<&Arc<str>>) -> bool {
        match (self, place) {
            (Self::Schemas(Some(own)) | Self::Rows(Some(own)), Some(place)) => own == place,
            _ => true,
        }
    }
}
