//! What a consumer over Kafka knows of the records before it: how far it has read, and what it could not understand.
//!
//! A record that nobody understands is never stepped over in silence: it is a gap, and everything cached is voided. The
//! last ones are kept here, without their values, so that somebody can look for the cause.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cachefront::event::Batch;
use cachefront::gate::VisibilityGate;
use cachefront::kafka::decode::DecodeError;
use cachefront::kafka::{KafkaProgress, KafkaSource};
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, Lead, SourceProbe, TableFilter};
use cachefront::{Clock, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::domain::rfc3339;

/// So many gaps are kept.
const GAPS_MAX: usize = 20;

/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 400;

/// What a consumer reports of its topics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Carried {
    /// How often it started failed tasks of the connector again since it began.
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
    /// The next record to read; nothing if it is not read now.
    pub next: Option<u64>,
    /// The partition's end, when it was last looked at.
    pub end: u64,
}

impl TopicPlace {
    /// How many records wait.
    pub fn behind(&self) -> Option<u64> {
        self.next.map(|next| self.end.saturating_sub(next))
    }
}

/// Something that voided everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapNote {
    /// RFC 3339 in UTC.
    pub at: String,
    /// Topic, partition and offset, if it was one record.
    pub record: Option<(String, i32, u64)>,
    /// Never with a value in it.
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

/// Where the source writes, and the report is made from.
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
    /// Takes over what an earlier process noted.
    pub fn adopt(&self, earlier: &[GapNote]) {
        let mut inner = self.lock();
        inner.gaps.extend(earlier.iter().cloned());
        inner.gaps.truncate(GAPS_MAX);
    }

    fn gap(&self, at: String, error: &Error) {
        let note = GapNote::new(at, error);
        let mut inner = self.lock();
        // A session that fails again at the same record says nothing new.
        if inner.gaps.front().is_some_and(|last| last.record == note.record && last.reason == note.reason) {
            return;
        }
        inner.gaps.push_front(note);
        inner.gaps.truncate(GAPS_MAX);
    }

    /// What is known now.
    pub fn carried(&self, restarts: u64) -> Carried {
        let inner = self.lock();
        let places = inner.progress.as_ref().map(KafkaProgress::partitions).unwrap_or_default();
        let place = |place: cachefront::kafka::PartitionProgress| TopicPlace {
            topic: place.topic.to_string(),
            partition: place.partition,
            next: place.next,
            // Reading may have gone on since the end was looked at.
            end: place.end.max(place.next.unwrap_or_default()),
        };
        Carried {
            restarts,
            topics: places.into_iter().map(place).collect(),
            gaps: inner.gaps.iter().cloned().collect(),
        }
    }

    /// A poisoned lock holds notes that were written whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Kafka source whose gaps are noted.
#[derive(Debug)]
pub struct NotingSource {
    source: KafkaSource,
    notebook: Arc<Notebook>,
    clock: Arc<dyn Clock>,
}

impl NotingSource {
    pub fn new(source: KafkaSource, notebook: &Arc<Notebook>, clock: Arc<dyn Clock>) -> Self {
        notebook.lock().progress = Some(source.progress());
        Self { source, notebook: Arc::clone(notebook), clock }
    }

    fn noted<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && error.kind() == ErrorKind::Gap
        {
            self.notebook.gap(rfc3339(self.clock.now()), error);
        }
        outcome
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not handed on would break the source behind")]
#[async_trait]
impl ChangeSource for NotingSource {
    fn describe(&self) -> String {
        self.source.describe()
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        self.source.preflight(filter).await
    }

    async fn lead(&mut self) -> Result<Lead> {
        self.source.lead().await
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        let outcome = self.source.open(from, filter).await;
        self.noted(outcome)
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let outcome = self.source.next_batch(limits).await;
        self.noted(outcome)
    }

    fn origin(&self) -> Option<Box<str>> {
        self.source.origin()
    }

    async fn close(&mut self) {
        self.source.close().await;
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.source.acknowledge(checkpoint).await
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        self.source.probe()
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        self.source.gate()
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
    fn a_gap_names_its_record_and_the_same_one_is_noted_once() {
        let notebook = Notebook::default();
        for _ in 0..2 {
            notebook.gap("now".into(), &undecodable("shop.users", 2, 17));
        }
        notebook.gap("later".into(), &Error::new(ErrorKind::Gap, "the topic was made anew"));
        let carried = notebook.carried(3);
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
        let gaps = notebook.carried(0).gaps;
        assert_eq!((gaps.len(), gaps[0].record.as_ref().map(|record| record.2)), (GAPS_MAX, Some(99)));
        let next = Notebook::default();
        next.adopt(&gaps);
        assert_eq!(next.carried(0).gaps, gaps);
    }

    #[test]
    fn what_waits_is_counted_and_unknown_where_nothing_is_read() {
        let place = TopicPlace { topic: "t".into(), partition: 0, next: Some(7), end: 10 };
        assert_eq!(place.behind(), Some(3));
        assert_eq!(TopicPlace { next: None, ..place.clone() }.behind(), None);
        assert_eq!(TopicPlace { next: Some(12), ..place }.behind(), Some(0));
    }
}
