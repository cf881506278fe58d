//! How far the partitions were read, for monitoring.

use crate::probe::SharedView;

/// The progress of a [`KafkaSource`](crate::KafkaSource). It stays valid after the source was moved into an invalidator.
///
/// ```no_run
/// # fn run(source: cachefront::kafka::KafkaSource) {
/// let progress = source.progress();
/// // … move `source` into an invalidator …
/// for partition in progress.partitions() {
///     let lag = partition.next.map(|next| partition.end.saturating_sub(next));
///     println!("{}[{}]: {lag:?} records behind", partition.topic, partition.partition);
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KafkaProgress(SharedView);

/// How far one partition was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionProgress {
    /// The topic.
    pub topic: Box<str>,
    /// The partition's number.
    pub partition: i32,
    /// The offset of the next record; `None` while this source does not read the partition.
    pub next: Option<u64>,
    /// The offset after the last record, as of the last metadata refresh: every
    /// [`discovery_interval`](crate::KafkaSettings::discovery_interval) while the source reads.
    pub end: u64,
}

impl KafkaProgress {
    pub(crate) fn new(shared: SharedView) -> Self {
        Self(shared)
    }

    /// Returns every partition that exists, by topic and number; empty before the first metadata refresh.
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
    use crate::brokers::{Bounds, TopicPartition};
    use crate::topics::Topics;

    #[test]
    fn an_unread_partition_has_an_end_and_no_offset() {
        let shared = SharedView::new(Topics::Listed(Vec::new()));
        let progress = KafkaProgress::new(shared.clone());
        assert_eq!(progress.partitions(), []);
        let partition = |topic: &str| TopicPartition { topic: topic.into(), number: 0 };
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
