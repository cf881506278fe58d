//! The current ends of the partitions, and of the log of the database behind the connector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cachefront_core::source::{Head, SourceProbe};
use cachefront_core::{Error, ErrorKind, Result};

use crate::brokers::{Bounds, Brokers, TopicPartition};
use crate::checkpoint::{Resume, ResumePoint};
use crate::config::KafkaSettings;
use crate::topics::Topics;

/// State shared by the probe, which refreshes metadata, and the source, which reads.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) topics: Topics,
    /// Number of metadata refreshes so far.
    pub(crate) round: u64,
    /// The partitions that exist, as of the last refresh.
    pub(crate) bounds: BTreeMap<TopicPartition, Bounds>,
    /// The next offset of each partition that is being read; empty without a session.
    pub(crate) reading: BTreeMap<TopicPartition, i64>,
    /// Why unread records are gone.
    pub(crate) lost: Option<String>,
    /// The partitions that are being read and were absent in the last refresh. A broker that has just started may not know
    /// them yet: they count as deleted if they are absent twice.
    absent: BTreeSet<TopicPartition>,
    /// The error that ends the session: the brokers refuse metadata, or a partition was absent.
    pub(crate) refused: Option<Error>,
    /// Rows were read that no transaction counts, although the connector counts events: see `Assembler`.
    pub(crate) uncounted: bool,
}

impl View {
    /// Stores the result of a refresh that began when reading was at `before`. Reading continued meanwhile, so it may
    /// have passed the ends that the refresh found.
    fn update(&mut self, found: &[(TopicPartition, Bounds)], before: &BTreeMap<TopicPartition, i64>) {
        self.round += 1;
        self.bounds = found.iter().cloned().collect();
        let is_absent = |partition: &&TopicPartition| !self.bounds.contains_key(*partition);
        let absent: BTreeSet<TopicPartition> = self.reading.keys().filter(is_absent).cloned().collect();
        let were_absent = std::mem::replace(&mut self.absent, absent);
        if self.lost.is_none() {
            self.lost = self.reading.iter().find_map(|(partition, next)| {
                let then = before.get(partition)?;
                match self.bounds.get(partition) {
                    Some(bounds) if bounds.low > *next => lost(partition, *next, Some(bounds)),
                    Some(bounds) if bounds.high < *next.min(then) => lost(partition, *next.min(then), Some(bounds)),
                    Some(_) => None,
                    None if were_absent.contains(partition) => lost(partition, *next, None),
                    None => None,
                }
            });
        }
        let is_back =
            |partition: &&TopicPartition| self.reading.contains_key(*partition) && self.bounds.contains_key(*partition);
        if self.refused.is_none()
            && let Some(partition) = were_absent.iter().find(is_back)
        {
            // The next session compares the record before its offset: the topic may have been created again.
            self.refused = Some(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "the brokers did not know partition {partition} for a moment: reading resumes at the checkpoint"
                ),
            ));
        }
    }

    /// Returns the partitions that exist and are not being read.
    pub(crate) fn unread(&self) -> Vec<TopicPartition> {
        self.bounds.keys().filter(|partition| !self.reading.contains_key(*partition)).cloned().collect()
    }
}

/// Returns why a partition that was read up to `next` cannot be continued; `None` if it can.
pub(crate) fn lost(partition: &TopicPartition, next: i64, bounds: Option<&Bounds>) -> Option<String> {
    match bounds {
        None => Some(format!("partition {partition} was deleted: records from offset {next} on may be unread")),
        Some(Bounds { low, .. }) if *low > next => Some(format!(
            "partition {partition} begins at offset {low} now, and was read only up to {next}: raise the topic's retention"
        )),
        Some(Bounds { high, .. }) if *high < next => Some(format!(
            "partition {partition} ends at offset {high} now, and was read up to {next} before: the topic was deleted and created again"
        )),
        Some(_) => None,
    }
}

/// The shared [`View`].
#[derive(Clone, Debug)]
pub(crate) struct SharedView(Arc<Mutex<View>>);

impl SharedView {
    /// No partition is known yet.
    pub(crate) fn new(topics: Topics) -> Self {
        let view = View {
            topics,
            round: 0,
            bounds: BTreeMap::new(),
            reading: BTreeMap::new(),
            lost: None,
            absent: BTreeSet::new(),
            refused: None,
            uncounted: false,
        };
        Self(Arc::new(Mutex::new(view)))
    }

    /// No code panics while it holds the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The [`SourceProbe`] of a Kafka source.
#[derive(Debug)]
pub(crate) struct KafkaProbe {
    brokers: Brokers,
    shared: SharedView,
    /// The probe of the database's own log.
    database: Arc<dyn SourceProbe>,
}

impl KafkaProbe {
    /// `database` reads the log of the server behind the connector.
    pub(crate) fn new(brokers: Brokers, shared: SharedView, database: Arc<dyn SourceProbe>) -> Self {
        Self { brokers, shared, database }
    }

    /// Ends the session with the error with which the brokers refuse metadata: retrying would not help.
    pub(crate) fn refuse(&self, error: Error) {
        self.shared.lock().refused = Some(error);
    }

    /// Returns the topics that do not exist.
    ///
    /// # Errors
    /// As [`Brokers::partitions`].
    pub(crate) async fn absent(&self, topics: Vec<String>) -> Result<Vec<String>> {
        let found = self.brokers.partitions(&Topics::Listed(topics.clone())).await?;
        let exists = |topic: &String| found.iter().any(|partition| *partition.topic == **topic);
        Ok(topics.into_iter().filter(|topic| !exists(topic)).collect())
    }

    /// Refreshes the bounds of all partitions, and returns them.
    ///
    /// # Errors
    /// As [`Brokers::partitions`].
    pub(crate) async fn refresh(&self) -> Result<Vec<(TopicPartition, Bounds)>> {
        let (topics, before) = {
            let view = self.shared.lock();
            (view.topics.clone(), view.reading.clone())
        };
        let partitions = self.brokers.partitions(&topics).await?;
        let found = self.brokers.bounds(partitions).await?;
        self.shared.lock().update(&found, &before);
        Ok(found)
    }

    /// The same for a session that resumes there: if a partition of it is absent, once more after `discovery_interval`. A broker
    /// that has just started may not know it yet.
    ///
    /// # Errors
    /// As [`Brokers::partitions`].
    pub(crate) async fn refresh_for(
        &self,
        resume: &Resume,
        settings: &KafkaSettings,
    ) -> Result<Vec<(TopicPartition, Bounds)>> {
        let found = self.refresh().await?;
        let topics = self.shared.lock().topics.clone();
        let is_found = |topic: &str, number: i32| {
            found.iter().any(|(partition, _)| *partition.topic == *topic && partition.number == number)
        };
        if resume.iter().all(|(topic, number, _)| !topics.has(topic) || is_found(topic, number)) {
            return Ok(found);
        }
        tokio::time::sleep(settings.discovery_interval).await;
        self.refresh().await
    }
}

#[async_trait]
impl SourceProbe for KafkaProbe {
    /// Reads the ends of the partitions *first*. A commit that is missing in the set that the database returns afterwards
    /// is either on Kafka after these ends, or among the last records before them, which are read again.
    async fn head(&self) -> Result<Head> {
        let found = self.refresh().await?;
        let mut head = self.database.head().await?;
        let mut resume = Resume::new(true);
        resume.uncounted = self.shared.lock().uncounted;
        for (partition, bounds) in found {
            resume.set(&partition.topic, partition.number, ResumePoint { next: bounds.high, seen: None });
        }
        head.checkpoint.resume = resume.encode();
        Ok(head)
    }

    fn proves_time(&self) -> bool {
        self.database.proves_time()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;

    use super::*;

    /// A database with an empty log.
    #[derive(Debug)]
    struct EmptyLog;

    #[async_trait]
    impl SourceProbe for EmptyLog {
        async fn head(&self) -> Result<Head> {
            Ok(Head { checkpoint: cachefront_core::source::Checkpoint::default(), origin: "a".into() })
        }
    }

    #[tokio::test]
    async fn a_new_generation_remembers_rows_that_no_transaction_counts() {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let brokers = Brokers::new(&config, Duration::from_secs(10)).expect("a client");
        let shared = SharedView::new(Topics::Listed(vec!["t".into()]));
        let probe = KafkaProbe::new(brokers, shared.clone(), Arc::new(EmptyLog));
        for uncounted in [false, true] {
            shared.lock().uncounted = uncounted;
            let head = probe.head().await.expect("a head");
            let resume = Resume::decode(&head.checkpoint.resume).expect("readable");
            assert_eq!((resume.is_end, resume.uncounted), (true, uncounted));
            assert_eq!(resume.get("t", 0), Some(ResumePoint { next: 0, seen: None }));
        }
    }

    #[test]
    fn reading_during_a_refresh_is_no_loss() {
        let shared = SharedView::new(Topics::Listed(Vec::new()));
        let partition = TopicPartition { topic: "t".into(), number: 0 };
        let reads = |next| BTreeMap::from([(partition.clone(), next)]);
        let update = |low, high, before: i64, now: i64| {
            let mut view = shared.lock();
            (view.reading, view.lost) = (reads(now), None);
            view.update(&[(partition.clone(), Bounds { low, high })], &reads(before));
            view.lost.take()
        };
        assert_eq!(update(0, 10, 9, 15), None, "it read past the end that the refresh found");
        assert_eq!(update(9, 10, 5, 15), None, "the removed records were read before");
        assert!(update(0, 8, 9, 15).is_some_and(|why| why.contains("created again")));
        assert!(update(16, 20, 9, 15).is_some_and(|why| why.contains("retention")));
        assert_eq!(update(0, 8, 9, 0), None, "a later session restarted at the beginning");
    }

    #[test]
    fn a_partition_that_is_absent_once_is_no_loss() {
        let shared = SharedView::new(Topics::Listed(Vec::new()));
        let partition = TopicPartition { topic: "t".into(), number: 0 };
        let reads = BTreeMap::from([(partition.clone(), 5)]);
        shared.lock().reading = reads.clone();
        let present = [(partition.clone(), Bounds { low: 0, high: 9 })];
        let refresh = |found: &[(TopicPartition, Bounds)]| {
            let mut view = shared.lock();
            view.update(found, &reads);
            (view.lost.take(), view.refused.take().map(|error| error.kind()))
        };
        assert_eq!(refresh(&present), (None, None));
        assert_eq!(refresh(&[]), (None, None), "a broker that starts may not know it yet");
        assert_eq!(refresh(&present), (None, Some(ErrorKind::Unavailable)), "it may be another topic of this name");
        assert_eq!(refresh(&[]), (None, None));
        assert!(refresh(&[]).0.is_some_and(|why| why.contains("deleted")));
    }

    #[test]
    fn missing_records_are_noticed() {
        let partition = TopicPartition { topic: "t".into(), number: 0 };
        let bounds = |low, high| Bounds { low, high };
        assert_eq!(lost(&partition, 5, Some(&bounds(5, 5))), None);
        assert_eq!(lost(&partition, 5, Some(&bounds(0, 9))), None);
        for (bounds, word) in
            [(Some(bounds(6, 9)), "retention"), (Some(bounds(0, 4)), "created again"), (None, "deleted")]
        {
            let why = lost(&partition, 5, bounds.as_ref()).expect(word);
            assert!(why.contains(word) && why.contains("t[0]"), "{why}");
        }
    }
}
