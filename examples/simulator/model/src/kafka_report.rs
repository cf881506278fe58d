//! What a consumer over Kafka reports: how far it has read each topic, and its last gaps.
//!
//! A record that cannot be decoded is never skipped silently: it is a gap, and everything cached is flushed. The last
//! gaps are kept here, without values, so that an operator can find the cause.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cachefront::event::Batch;
use cachefront::kafka::decode::DecodeError;
use cachefront::kafka::{KafkaProgress, KafkaSource};
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, LayeredSource, SourceLayer, TableFilter};
use cachefront::{Clock, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::domain::rfc3339;

/// Maximum number of gaps kept.
const GAPS_MAX: usize = 20;

/// Maximum number of characters of a reason.
const REASON_CHARS_MAX: usize = 400;

/// A consumer's report about its topics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KafkaReport {
    /// Number of times that this process restarted failed tasks of the connector.
    pub restarts: u64,
    pub topics: Vec<TopicPlace>,
    /// The newest first.
    pub gaps: Vec<GapNote>,
}

/// How far a partition was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicPlace {
    pub topic: String,
    pub partition: i32,
    /// The offset of the next record; `None` while the partition is not read.
    pub next: Option<u64>,
    /// The partition's end, as of the last metadata refresh.
    pub end: u64,
}

impl TopicPlace {
    /// Returns the number of unread records; `None` while the partition is not read.
    pub fn behind(&self) -> Option<u64> {
        self.next.map(|next| self.end.saturating_sub(next))
    }
}

/// A gap: it flushed everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapNote {
    /// RFC 3339 in UTC.
    pub at: String,
    /// Topic, partition and offset, if one record is the cause.
    pub record: Option<(String, i32, u64)>,
    /// Contains no values of the record.
    pub reason: String,
}

impl GapNote {
    fn new(at: String, error: &Error) -> Self {
        let decode = std::error::Error::source(error).and_then(|source| source.downcast_ref::<DecodeError>());
        let record = decode.map(DecodeError::location).and_then(|location| {
            Some((location.topic.clone(), location.partition, u64::try_from(location.offset).ok()?))
        });
        let reason = decode.map_or_else(|| error.chain(), |decode| decode.reason().to_string());
        Self { at, record, reason: reason.chars().take(REASON_CHARS_MAX).collect() }
    }
}

/// The source's progress and gaps, from which the report is built.
#[derive(Debug, Default)]
pub struct Notebook {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    progress: Option<KafkaProgress>,
    gaps: VecDeque<GapNote>,
}

impl Notebook {
    /// Takes over the gaps of an earlier process.
    pub fn adopt(&self, earlier: &[GapNote]) {
        let mut inner = self.lock();
        inner.gaps.extend(earlier.iter().cloned());
        inner.gaps.truncate(GAPS_MAX);
    }

    fn gap(&self, at: String, error: &Error) {
        let note = GapNote::new(at, error);
        let mut inner = self.lock();
        // A session that fails again at the same record is not a new gap.
        if inner.gaps.front().is_some_and(|last| last.record == note.record && last.reason == note.reason) {
            return;
        }
        inner.gaps.push_front(note);
        inner.gaps.truncate(GAPS_MAX);
    }

    /// Returns the current report.
    pub fn report(&self, restarts: u64) -> KafkaReport {
        let inner = self.lock();
        let places = inner.progress.as_ref().map(KafkaProgress::partitions).unwrap_or_default();
        let place = |place: cachefront::kafka::PartitionProgress| TopicPlace {
            topic: place.topic.to_string(),
            partition: place.partition,
            next: place.next,
            // Reading may have continued since the last refresh.
            end: place.end.max(place.next.unwrap_or_default()),
        };
        KafkaReport {
            restarts,
            topics: places.into_iter().map(place).collect(),
            gaps: inner.gaps.iter().cloned().collect(),
        }
    }

    /// A panic cannot leave the state half-written, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the gaps of a Kafka source.
#[derive(Debug)]
pub struct GapRecorder {
    notebook: Arc<Notebook>,
    clock: Arc<dyn Clock>,
}

impl GapRecorder {
    /// Wraps a source.
    pub fn around(source: KafkaSource, notebook: &Arc<Notebook>, clock: Arc<dyn Clock>) -> LayeredSource<Self> {
        notebook.lock().progress = Some(source.progress());
        LayeredSource::around(source, Self { notebook: Arc::clone(notebook), clock })
    }

    fn record<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && error.kind() == ErrorKind::Gap
        {
            self.notebook.gap(rfc3339(self.clock.now()), error);
        }
        outcome
    }
}

#[async_trait]
impl SourceLayer for GapRecorder {
    async fn open(&mut self, source: &mut dyn ChangeSource, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        let outcome = source.open(from, filter).await;
        self.record(outcome)
    }

    async fn next_batch(&mut self, source: &mut dyn ChangeSource, limits: &BatchLimits) -> Result<Batch> {
        let outcome = source.next_batch(limits).await;
        self.record(outcome)
    }
}

#[cfg(test)]
mod tests {
    use cachefront::kafka::decode::{Decoder, DecoderSettings, Record};

    use super::*;

    /// The error of a record that is not JSON.
    fn undecodable(topic: &str, partition: i32, offset: i64) -> Error {
        let mut decoder = Decoder::new(DecoderSettings::default(), &TableFilter::new());
        let record = Record { topic, partition, offset, key: None, value: Some(b"}") };
        decoder.decode(&record).expect_err("not JSON").into()
    }

    #[test]
    fn a_gap_names_its_record_and_a_repeated_one_is_kept_once() {
        let notebook = Notebook::default();
        for _ in 0..2 {
            notebook.gap("now".into(), &undecodable("shop.users", 2, 17));
        }
        notebook.gap("later".into(), &Error::new(ErrorKind::Gap, "the topic was created again"));
        let carried = notebook.report(3);
        assert_eq!((carried.restarts, carried.gaps.len()), (3, 2));
        assert_eq!(carried.gaps[0].record, None);
        assert_eq!(carried.gaps[1].record, Some(("shop.users".into(), 2, 17)));
        assert!(carried.gaps[1].reason.starts_with("the value is not the JSON that Debezium writes"));
    }

    #[test]
    fn only_the_last_gaps_are_kept_and_a_restart_keeps_them() {
        let notebook = Notebook::default();
        for offset in 0..100 {
            notebook.gap("now".into(), &undecodable("t", 0, offset));
        }
        let gaps = notebook.report(0).gaps;
        assert_eq!((gaps.len(), gaps[0].record.as_ref().map(|record| record.2)), (GAPS_MAX, Some(99)));
        let next = Notebook::default();
        next.adopt(&gaps);
        assert_eq!(next.report(0).gaps, gaps);
    }

    #[test]
    fn unread_records_are_unknown_while_no_one_reads() {
        let place = TopicPlace { topic: "t".into(), partition: 0, next: Some(7), end: 10 };
        assert_eq!(place.behind(), Some(3));
        assert_eq!(TopicPlace { next: None, ..place.clone() }.behind(), None);
        assert_eq!(TopicPlace { next: Some(12), ..place }.behind(), Some(0));
    }
}
