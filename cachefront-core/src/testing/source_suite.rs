//! The laws that every [`ChangeSource`] must keep, each as a separate test.
//!
//! An adapter provides a [`SourceFixture`], and [`source_suite!`](crate::source_suite) makes one named test for each law:
//!
//! ```no_run
//! use std::ops::Range;
//! use cachefront::event::{Change, Operation, RowChange, RowImage, Value};
//! use cachefront::source::{ChangeSource, Columns, TableFilter};
//! use cachefront::testing::{ScriptedSource, SourceFixture};
//!
//! struct Scripted(ScriptedSource);
//!
//! #[cachefront::async_trait]
//! impl SourceFixture for Scripted {
//!     async fn source(&mut self) -> Box<dyn ChangeSource> { Box::new(self.0.clone()) }
//!     fn table_filter(&self) -> TableFilter { TableFilter::new() }
//!     async fn commit(&mut self, ids: Range<u64>) {
//!         self.0.commit(ids.map(|id| Change::Row(RowChange {
//!             table: "suite.rows".into(),
//!             operation: Operation::Insert,
//!             before: None,
//!             after: Some(RowImage::from_pairs([("id", Value::UInt(id))])),
//!         })));
//!     }
//!     async fn commit_elsewhere(&mut self) { self.0.commit([]); }
//!     async fn purge(&mut self) { self.0.purge() }
//! }
//!
//! async fn scripted() -> Scripted { Scripted(ScriptedSource::new("suite")) }
//!
//! cachefront::source_suite!(scripted());
//! ```

#![expect(clippy::missing_panics_doc, reason = "every law panics if it is broken")]

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::ErrorKind;
use crate::event::{Batch, Change, Operation};
use crate::position::Gtid;
use crate::source::{BatchLimits, ChangeSource, Checkpoint, TableFilter};
use crate::testing::wait::WAIT_MAX;

/// A log for one test, and the operations of the test on it.
#[async_trait]
pub trait SourceFixture: Send + Sync {
    /// Creates a source over the log, not opened. There may be several.
    async fn source(&mut self) -> Box<dyn ChangeSource>;

    /// Returns a filter with one table that has a column `id` of type `u64`.
    fn table_filter(&self) -> TableFilter;

    /// Commits one transaction that inserts a row for each id, in order. Ids are not repeated.
    async fn commit(&mut self, ids: Range<u64>);

    /// Commits a transaction without a change to the table of the filter.
    async fn commit_elsewhere(&mut self);

    /// Purges everything that is in the log now.
    async fn purge(&mut self);

    /// Returns true if the log has several partitions: parts of different transactions may then alternate, and changes of a
    /// transaction that is incomplete at a checkpoint may come again after it.
    ///
    /// Default: false.
    fn interleaves(&self) -> bool {
        false
    }
}

fn limits(changes_max: usize) -> BatchLimits {
    BatchLimits { changes_max, bytes_max: 4 << 20, wait_max: Duration::from_millis(100), linger_max: Duration::ZERO }
}

/// A reader of the log, and everything that it has received.
struct Reader {
    source: Box<dyn ChangeSource>,
    ids: Vec<u64>,
    checkpoint: Checkpoint,
    /// The transaction of the last part, until it is complete.
    unfinished: Option<Gtid>,
    interleaves: bool,
}

impl Reader {
    /// Opens a source at the end of the log.
    async fn at_the_end(fixture: &mut dyn SourceFixture) -> Self {
        let source = fixture.source().await;
        let checkpoint = source.probe().head().await.expect("the log's end").checkpoint;
        Self::at(source, fixture, checkpoint).await
    }

    async fn at(mut source: Box<dyn ChangeSource>, fixture: &dyn SourceFixture, checkpoint: Checkpoint) -> Self {
        let (filter, interleaves) = (fixture.table_filter(), fixture.interleaves());
        source.open(&checkpoint, &filter).await.expect("the source opens");
        Self { source, ids: Vec::new(), checkpoint, unfinished: None, interleaves }
    }

    /// Records a batch, and checks what must be true of every batch.
    fn note(&mut self, batch: Batch, limits: &BatchLimits) {
        assert!(batch.changes() <= limits.changes_max, "a batch has at most the requested number of changes");
        for transaction in batch.transactions {
            if let Some(unfinished) = self.unfinished.take() {
                assert_eq!(transaction.gtid, unfinished, "the parts of a transaction follow each other");
            }
            match transaction.complete {
                true => assert!(
                    batch.checkpoint.position.contains(&transaction.gtid),
                    "a complete transaction is in the position"
                ),
                false => {
                    assert!(
                        !batch.checkpoint.position.contains(&transaction.gtid),
                        "a part does not move the position"
                    );
                    self.unfinished = (!self.interleaves).then_some(transaction.gtid);
                }
            }
            self.ids.extend(transaction.changes.iter().map(id));
        }
        assert!(batch.checkpoint.position.covers(&self.checkpoint.position), "the position only grows");
        self.checkpoint = batch.checkpoint;
    }

    async fn fetch(&mut self, limits: &BatchLimits) {
        let batch = self.source.next_batch(limits).await.expect("a batch");
        self.note(batch, limits);
    }

    /// Fetches until the position covers everything that is committed now.
    async fn catch_up(&mut self, limits: &BatchLimits) {
        let goal = self.source.probe().head().await.expect("the log's end").checkpoint.position;
        let all = async {
            while !self.checkpoint.position.covers(&goal) {
                self.fetch(limits).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, all).await.expect("everything committed is delivered in time");
    }
}

fn id(change: &Change) -> u64 {
    match change {
        Change::Row(row) => {
            assert_eq!(row.operation, Operation::Insert);
            row.after.as_ref().expect("an insert has an image after it").get("id").expect("the id")
        }
        other => panic!("the suite inserts rows only, but received: {other:?}"),
    }
}

/// Every committed change is delivered once, in commit order.
pub async fn changes_come_in_commit_order(fixture: &mut dyn SourceFixture) {
    fixture.commit(0..3).await;
    let mut reader = Reader::at_the_end(fixture).await;
    fixture.commit(3..4).await;
    fixture.commit(4..9).await;
    fixture.commit(9..40).await;
    reader.catch_up(&limits(1_000)).await;
    assert_eq!(reader.ids, (3..40).collect::<Vec<_>>());
    fixture.commit(40..41).await;
    reader.catch_up(&limits(1_000)).await;
    assert_eq!(reader.ids, (3..41).collect::<Vec<_>>());
}

/// A source that is opened at the checkpoint of a batch resumes directly after it.
pub async fn a_checkpoint_leads_to_what_follows_it(fixture: &mut dyn SourceFixture) {
    let mut first = Reader::at_the_end(fixture).await;
    for number in 0..10 {
        fixture.commit(number..number + 1).await;
    }
    // Every point at which a batch can end, with batches of one change.
    let one = limits(1);
    for delivered in 1..=10 {
        let before = first.ids.len();
        while first.ids.len() == before {
            first.fetch(&one).await;
        }
        assert_eq!(first.ids.len(), delivered);
        let source = fixture.source().await;
        let mut second = Reader::at(source, fixture, first.checkpoint.clone()).await;
        second.catch_up(&limits(1_000)).await;
        let repeated = match second.interleaves {
            true => second.ids.first().map_or(delivered as u64, |first| (*first).min(delivered as u64)),
            false => delivered as u64,
        };
        assert_eq!(second.ids, (repeated..10).collect::<Vec<_>>(), "after batch {delivered}");
    }
}

/// A source may be opened again, also at an earlier checkpoint; everything after it is delivered again.
pub async fn a_source_may_be_opened_again(fixture: &mut dyn SourceFixture) {
    let mut reader = Reader::at_the_end(fixture).await;
    let start = reader.checkpoint.clone();
    fixture.commit(0..5).await;
    reader.catch_up(&limits(1_000)).await;
    let mut again = Reader::at(reader.source, fixture, start).await;
    fixture.commit(5..6).await;
    again.catch_up(&limits(1_000)).await;
    assert_eq!(again.ids, (0..6).collect::<Vec<_>>());
}

/// A dropped call loses no change, whenever it is dropped.
pub async fn a_dropped_call_loses_no_change(fixture: &mut dyn SourceFixture) {
    let mut reader = Reader::at_the_end(fixture).await;
    let lingering = BatchLimits { linger_max: Duration::from_millis(2), ..limits(3) };
    for number in 0..60 {
        fixture.commit(number..number + 1).await;
        for limits in [limits(1_000), lingering] {
            let patience = Duration::from_micros(number * 37 % 3_000);
            if let Ok(batch) = tokio::time::timeout(patience, reader.source.next_batch(&limits)).await {
                reader.note(batch.expect("a batch"), &limits);
            }
        }
    }
    reader.catch_up(&limits(1_000)).await;
    assert_eq!(reader.ids, (0..60).collect::<Vec<_>>());
}

/// A transaction with more changes than a batch may have is delivered in parts; only the last part is complete.
pub async fn a_large_transaction_comes_in_parts(fixture: &mut dyn SourceFixture) {
    let mut reader = Reader::at_the_end(fixture).await;
    fixture.commit(0..2).await;
    fixture.commit(2..102).await;
    fixture.commit(102..103).await;
    let small = limits(7);
    let mut parts = 0;
    while reader.ids.len() < 103 {
        reader.fetch(&small).await;
        parts += usize::from(reader.unfinished.is_some());
    }
    assert_eq!(reader.ids, (0..103).collect::<Vec<_>>());
    assert!(
        reader.interleaves || parts >= 100 / 7,
        "only {parts} batches ended inside of a transaction of 100 changes"
    );
    assert!(reader.unfinished.is_none());
}

/// Without changes, a call returns an empty batch after its timeout.
pub async fn an_idle_wait_ends_with_an_empty_batch(fixture: &mut dyn SourceFixture) {
    let mut reader = Reader::at_the_end(fixture).await;
    let limits = limits(10);
    let batch = tokio::time::timeout(WAIT_MAX, reader.source.next_batch(&limits)).await.expect("the wait ends");
    let batch = batch.expect("an empty batch");
    assert!(batch.transactions.is_empty());
    reader.note(batch, &limits);
    fixture.commit(0..1).await;
    reader.catch_up(&limits).await;
    assert_eq!(reader.ids, [0], "and the next change is delivered");
}

/// Commits without a change to the filter's tables move the position.
pub async fn other_commits_move_the_position(fixture: &mut dyn SourceFixture) {
    let mut reader = Reader::at_the_end(fixture).await;
    fixture.commit_elsewhere().await;
    fixture.commit(0..1).await;
    for _ in 0..5 {
        fixture.commit_elsewhere().await;
    }
    reader.catch_up(&limits(1_000)).await;
    assert_eq!(reader.ids, [0]);
}

/// The probe sees every commit at once, and the gate opens for it.
pub async fn the_head_holds_every_commit(fixture: &mut dyn SourceFixture) {
    let mut reader = Reader::at_the_end(fixture).await;
    let probe = reader.source.probe();
    let before = probe.head().await.expect("the log's end");
    fixture.commit(0..1).await;
    let after = probe.head().await.expect("the log's end");
    assert_eq!(before.origin, after.origin);
    assert!(after.checkpoint.position.covers(&before.checkpoint.position));
    assert_ne!(after.checkpoint.position, before.checkpoint.position, "the commit is in it");
    if let Some(gate) = reader.source.gate() {
        assert!(gate.wait(&after.checkpoint.position, WAIT_MAX).await.expect("the gate"), "it is visible");
    }
    reader.catch_up(&limits(10)).await;
    assert_eq!(reader.ids, [0]);
}

/// A source that is not open returns an error.
pub async fn a_source_that_is_not_open_returns_an_error(fixture: &mut dyn SourceFixture) {
    let mut source = fixture.source().await;
    let error = source.next_batch(&limits(10)).await.expect_err("it is not open");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Purged changes are a gap, at `open` or at the first batch; they are never skipped silently.
pub async fn a_lost_position_is_a_gap(fixture: &mut dyn SourceFixture) {
    let mut source = fixture.source().await;
    let old = source.probe().head().await.expect("the log's end").checkpoint;
    fixture.commit(0..3).await;
    fixture.purge().await;
    fixture.commit(3..4).await;
    let filter = fixture.table_filter();
    let error = match source.open(&old, &filter).await {
        Err(error) => error,
        Ok(()) => source.next_batch(&limits(10)).await.expect_err("three changes are gone"),
    };
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    // It resumes from the end.
    let head = source.probe().head().await.expect("the log's end").checkpoint;
    let mut reader = Reader::at(source, fixture, head).await;
    fixture.commit(4..5).await;
    reader.catch_up(&limits(10)).await;
    assert_eq!(reader.ids, [4]);
}

/// Makes one test for each law of the source suite. The argument is a future of a
/// [`SourceFixture`](crate::testing::SourceFixture), created for every test. Requires tokio with `macros`.
#[macro_export]
macro_rules! source_suite {
    ($fixture:expr) => {
        $crate::source_suite! { @tests $fixture;
            changes_come_in_commit_order
            a_checkpoint_leads_to_what_follows_it
            a_source_may_be_opened_again
            a_dropped_call_loses_no_change
            a_large_transaction_comes_in_parts
            an_idle_wait_ends_with_an_empty_batch
            other_commits_move_the_position
            the_head_holds_every_commit
            a_source_that_is_not_open_returns_an_error
            a_lost_position_is_a_gap
        }
    };
    (@tests $fixture:expr; $($law:ident)*) => {
        $(
            #[tokio::test]
            async fn $law() {
                let mut fixture = $fixture.await;
                $crate::testing::source_suite::$law(&mut fixture).await;
            }
        )*
    };
}
