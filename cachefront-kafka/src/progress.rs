//! How far the partitions were read, for whoever looks on.

use crate::probe::Shared;

/// A view of a [`KafkaSource`](crate::KafkaSource) that outlives its hand-over to the invalidator.
#[derive(Clone, Debug)]
pub struct KafkaProgress(Shared);

/// How far one partition was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionProgress {
    /// The topic.
    pub topic: Box<str>,
    /// The partition's number.
    pub partition: i32,
    /// The offset of the next record; nothing if the partition is not being read by this source now.
    pub next: Option<u64>,
    /// The offset after the last record, when the brokers were last asked: every
    /// [`discovery_interval`](crate::KafkaSettings::discovery_interval) while the source reads.
    pub end: u64,
}

impl KafkaProgress {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(shared)
    }

    /// Every partition that the brokers named, by topic and number; none before they were asked.
    pub fn partitions(&self) -> Vec<PartitionProgress> {
        let view = self.0.lock();
        let offset = |number: i64| u64::try_from(number).unwrap_or_default();
        let progress = view.bounds.iter().map(|(partition, bounds)| PartitionProgress {
            topic: Box::from(&*partition.topic),
            partition: partition.number,
            next: view.reading.get(partition).copied().map(offset),
            end: offset(bounds.high),
        });
        progress.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brokers::{Bounds, Partition};
    use crate::topics::Topics;

    #[test]
    fn what_is_not_read_has_an_end_and_no_place() {
        let shared = Shared::new(Topics::Listed(Vec::new()));
        let progress = KafkaProgress::new(shared.clone());
        assert_eq!(progress.partitions(), []);
        let partition = |topic: &str| Partition { topic: topic.into(), number: 0 };
        let mut view = shared.lock();
        view.bounds.insert(partition("a"), Bounds { low: 0, high: 9 });
        view.bounds.insert(partition("b"), Bounds { low: 2, high: 4 });
        view.reading.insert(partition("a"), 7);
        drop(view);
        let seen: Vec<_> =
            progress.partitions().into_iter().map(|of| (of.topic.into_string(), of.next, of.end)).collect();
        assert_eq!(seen, [("a".to_owned(), Some(7), 9), ("b".to_owned(), None, 4)]);
    }
}
