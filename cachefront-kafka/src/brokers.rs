//! Questions to the brokers: which partitions there are, and where they begin and end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cachefront_core::Result;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::error::failed;
use crate::topics::Topics;

/// Above this many named topics one question for all of the cluster's is cheaper.
const SINGLE_QUESTIONS_MAX: usize = 16;

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) number: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.number)
    }
}

/// The first offset that a partition still holds, and the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

/// A client that reads no records.
#[derive(Clone)]
pub(crate) struct Brokers {
    client: Arc<BaseConsumer>,
    timeout: Duration,
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brokers").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Brokers {
    pub(crate) fn new(config: &ClientConfig, timeout: Duration) -> Result<Self> {
        let client: BaseConsumer = config.create().map_err(|cause| failed("making a Kafka client", cause))?;
        Ok(Self { client: Arc::new(client), timeout })
    }

    /// The partitions that exist of these topics, in order.
    pub(crate) async fn partitions(&self, topics: &Topics) -> Result<Vec<Partition>> {
        let (client, timeout, topics) = (Arc::clone(&self.client), self.timeout, topics.clone());
        blocking("asking the brokers for topics", move || {
            // What the client has to say about lost connections is taken here, or it would pile up.
            while client.poll(Duration::ZERO).is_some() {}
            let mut found = match &topics {
                Topics::Listed(names) if names.len() <= SINGLE_QUESTIONS_MAX => {
                    let mut found = Vec::new();
                    for name in names {
                        found.extend(existing(&client, Some(name), timeout, |topic| topic == name)?);
                    }
                    found
                }
                Topics::Listed(names) => {
                    existing(&client, None, timeout, |topic| names.iter().any(|name| name == topic))?
                }
                Topics::Pattern(regex) => existing(&client, None, timeout, |topic| regex.is_match(topic))?,
            };
            found.sort();
            Ok(found)
        })
        .await
    }

    /// Where these partitions begin and end. One that was deleted meanwhile is left out.
    pub(crate) async fn bounds(&self, partitions: Vec<Partition>) -> Result<Vec<(Partition, Bounds)>> {
        let (client, timeout) = (Arc::clone(&self.client), self.timeout);
        blocking("asking the brokers for offsets", move || {
            let mut found = Vec::with_capacity(partitions.len());
            for partition in partitions {
                match client.fetch_watermarks(&partition.topic, partition.number, timeout) {
                    Ok((low, high)) => found.push((partition, Bounds { low, high })),
                    Err(error) if is_unknown(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(found)
        })
        .await
    }
}

fn existing(
    client: &BaseConsumer,
    topic: Option<&str>,
    timeout: Duration,
    wanted: impl Fn(&str) -> bool,
) -> std::result::Result<Vec<Partition>, KafkaError> {
    let metadata = match client.fetch_metadata(topic, timeout) {
        Ok(metadata) => metadata,
        Err(error) if is_unknown(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for topic in metadata.topics().iter().filter(|topic| topic.error().is_none() && wanted(topic.name())) {
        let name: Arc<str> = topic.name().into();
        let numbers = topic.partitions().iter().map(|partition| partition.id());
        found.extend(numbers.map(|number| Partition { topic: Arc::clone(&name), number }));
    }
    Ok(found)
}

fn is_unknown(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(error.rdkafka_error_code(), Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition))
}

/// The client's questions block: they run where that disturbs nobody.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    ask: impl FnOnce() -> std::result::Result<T, KafkaError> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(answer) => answer.map_err(|cause| failed(doing, cause)),
        Err(ended) => Err(cachefront_core::Error::with_source(
            cachefront_core::ErrorKind::Unavailable,
            format!("{doing} was cut short"),
            ended,
        )),
    }
}
