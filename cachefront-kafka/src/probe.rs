//! Where Kafka and the database behind it end now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cachefront_core::source::{Head, SourceProbe};
use cachefront_core::{Error, Result};

use crate::brokers::{Bounds, Brokers, Partition};
use crate::checkpoint::{Place, Resume};
use crate::topics::Topics;

/// What the probe sees and the source reads, each told to the other.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) topics: Topics,
    /// Counts the probe's looks.
    pub(crate) round: u64,
    pub(crate) bounds: BTreeMap<Partition, Bounds>,
    /// The next record of each partition that is being read; empty while nothing is.
    pub(crate) reading: BTreeMap<Partition, i64>,
    /// Why records that were to be read are gone.
    pub(crate) lost: Option<String>,
    /// Why the brokers refuse to be looked at.
    pub(crate) refused: Option<Error>,
    /// Rows came that no transaction counts, although the connector counts: see `Assembler`.
    pub(crate) uncounted: bool,
}

impl View {
    /// Takes in a look that began when `before` was being read. Reading went on since, so it may have passed the ends
    /// that the look found.
    fn note(&mut self, found: &[(Partition, Bounds)], before: &BTreeMap<Partition, i64>) {
        self.round += 1;
        self.bounds = found.iter().cloned().collect();
        if self.lost.is_none() {
            self.lost = self.reading.iter().find_map(|(partition, next)| {
                let then = before.get(partition)?;
                match self.bounds.get(partition) {
                    Some(bounds) if bounds.low > *next => lost(partition, *next, Some(bounds)),
                    Some(bounds) if bounds.high < *next.min(then) => lost(partition, *next.min(then), Some(bounds)),
                    Some(_) => None,
                    None => lost(partition, *next, None),
                }
            });
        }
    }

    /// Partitions that exist and are not being read.
    pub(crate) fn unread(&self) -> Vec<Partition> {
        self.bounds.keys().filter(|partition| !self.reading.contains_key(*partition)).cloned().collect()
    }
}

/// Says why a partition that was read up to `next` cannot be read on, if so.
pub(crate) fn lost(partition: &Partition, next: i64, bounds: Option<&Bounds>) -> Option<String> {
    match bounds {
        None => Some(format!("partition {partition} was deleted: what was in it after offset {next} may be unread")),
        Some(Bounds { low, .. }) if *low > next => Some(format!(
            "partition {partition} begins at offset {low} now, and was read up to {next} only: raise the topic's retention"
        )),
        Some(Bounds { high, .. }) if *high < next => Some(format!(
            "partition {partition} ends at offset {high} now, and was read up to {next} before: the topic was made anew"
        )),
        Some(_) => None,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<View>>);

impl Shared {
    pub(crate) fn new(topics: Topics) -> Self {
        let view = View {
            topics,
            round: 0,
            bounds: BTreeMap::new(),
            reading: BTreeMap::new(),
            lost: None,
            refused: None,
            uncounted: false,
        };
        Self(Arc::new(Mutex::new(view)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct KafkaProbe {
    brokers: Brokers,
    shared: Shared,
    /// Answers what the database has executed.
    database: Arc<dyn SourceProbe>,
}

impl KafkaProbe {
    pub(crate) fn new(brokers: Brokers, shared: Shared, database: Arc<dyn SourceProbe>) -> Self {
        Self { brokers, shared, database }
    }

    /// Tells the source why the brokers refuse to be looked at: waiting is no use.
    pub(crate) fn refuse(&self, error: Error) {
        self.shared.lock().refused = Some(error);
    }

    /// Those of these topics that do not exist.
    ///
    /// # Errors
    /// As [`Brokers::partitions`].
    pub(crate) async fn absent(&self, topics: Vec<String>) -> Result<Vec<String>> {
        let found = self.brokers.partitions(&Topics::Listed(topics.clone())).await?;
        let exists = |topic: &String| found.iter().any(|partition| *partition.topic == **topic);
        Ok(topics.into_iter().filter(|topic| !exists(topic)).collect())
    }

    /// Looks at all partitions, and tells the source.
    pub(crate) async fn look(&self) -> Result<Vec<(Partition, Bounds)>> {
        let (topics, before) = {
            let view = self.shared.lock();
            (view.topics.clone(), view.reading.clone())
        };
        let partitions = self.brokers.partitions(&topics).await?;
        let found = self.brokers.bounds(partitions).await?;
        self.shared.lock().note(&found, &before);
        Ok(found)
    }
}

#[async_trait]
impl SourceProbe for KafkaProbe {
    /// The ends of the partitions are taken *first*: a commit that is not in the set which the database answers after
    /// that is either on Kafka behind these ends, or among the last records before them, which are read again.
    async fn head(&self) -> Result<Head> {
        let found = self.look().await?;
        let mut head = self.database.head().await?;
        let mut resume = Resume::new(true);
        resume.uncounted = self.shared.lock().uncounted;
        for (partition, bounds) in found {
            resume.set(&partition.topic, partition.number, Place { next: bounds.high, seen: None });
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

    /// A database that has executed nothing.
    #[derive(Debug)]
    struct Still;

    #[async_trait]
    impl SourceProbe for Still {
        async fn head(&self) -> Result<Head> {
            Ok(Head { checkpoint: cachefront_core::source::Checkpoint::default(), origin: "a".into() })
        }
    }

    #[tokio::test]
    async fn a_new_generation_does_not_forget_rows_that_no_transaction_counts() {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let brokers = Brokers::new(&config, Duration::from_secs(10)).expect("a client");
        let shared = Shared::new(Topics::Listed(vec!["t".into()]));
        let probe = KafkaProbe::new(brokers, shared.clone(), Arc::new(Still));
        for uncounted in [false, true] {
            shared.lock().uncounted = uncounted;
            let head = probe.head().await.expect("a head");
            let resume = Resume::decode(&head.checkpoint.resume).expect("readable");
            assert_eq!((resume.is_end, resume.uncounted), (true, uncounted));
            assert_eq!(resume.get("t", 0), Some(Place { next: 0, seen: None }));
        }
    }

    #[test]
    fn reading_on_during_a_look_is_no_loss() {
        let shared = Shared::new(Topics::Listed(Vec::new()));
        let partition = Partition { topic: "t".into(), number: 0 };
        let reads = |next| BTreeMap::from([(partition.clone(), next)]);
        let note = |low, high, before: i64, now: i64| {
            let mut view = shared.lock();
            (view.reading, view.lost) = (reads(now), None);
            view.note(&[(partition.clone(), Bounds { low, high })], &reads(before));
            view.lost.take()
        };
        assert_eq!(note(0, 10, 9, 15), None, "it read past the end that was found");
        assert_eq!(note(9, 10, 5, 15), None, "it read what was removed after that");
        assert!(note(0, 8, 9, 15).is_some_and(|why| why.contains("anew")));
        assert!(note(16, 20, 9, 15).is_some_and(|why| why.contains("retention")));
        assert_eq!(note(0, 8, 9, 0), None, "it begins anew since");
    }

    #[test]
    fn what_is_gone_is_noticed() {
        let partition = Partition { topic: "t".into(), number: 0 };
        let bounds = |low, high| Bounds { low, high };
        assert_eq!(lost(&partition, 5, Some(&bounds(5, 5))), None);
        assert_eq!(lost(&partition, 5, Some(&bounds(0, 9))), None);
        for (bounds, word) in [(Some(bounds(6, 9)), "retention"), (Some(bounds(0, 4)), "anew"), (None, "deleted")] {
            let why = lost(&partition, 5, bounds.as_ref()).expect(word);
            assert!(why.contains(word) && why.contains("t[0]"), "{why}");
        }
    }
}
