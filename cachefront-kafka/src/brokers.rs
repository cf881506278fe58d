//! Metadata of the brokers: which partitions exist, and their first and last offsets.
//!
//! Both requests block in the client, so they run on tokio's threads for blocking work. A request
//! for a topic that does not exist would create it where `auto.create.topics.enable` is on; the
//! client's `allow.auto.create.topics` is off by default for consumers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cachefront_core::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::error::{failed, kind_of};
use crate::topics::Topics;

/// Maximum number of topics that are requested one by one; above it one request for all topics of the cluster is cheaper.
const SINGLE_REQUESTS_MAX: usize = 16;

const TOPICS: &str = "asking the brokers for topics";
const OFFSETS: &str = "asking the brokers for offsets";

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub(crate) topic: Arc<str>,
    pub(crate) number: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.number)
    }
}

/// The first offset that a partition still has, and the one after its last record.
///
/// `low` rises when the broker removes old segments. `high` falls only if the topic was deleted and
/// created again, or records were lost in an unclean election.
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
    /// # Errors
    /// `Config` if the client refuses a setting.
    pub(crate) fn new(config: &ClientConfig, timeout: Duration) -> Result<Self> {
        let client: BaseConsumer = config.create().map_err(|cause| failed("making a Kafka client", cause))?;
        Ok(Self { client: Arc::new(client), timeout })
    }

    /// Returns the partitions of these topics that exist, sorted.
    ///
    /// # Errors
    /// If the metadata of a topic cannot be read: a topic that the user may not describe must not pass for one that does
    /// not exist.
    pub(crate) async fn partitions(&self, topics: &Topics) -> Result<Vec<TopicPartition>> {
        let (client, timeout, topics) = (Arc::clone(&self.client), self.timeout, topics.clone());
        blocking(TOPICS, move || {
            // Drains the client's events about lost connections, which would accumulate otherwise.
            while client.poll(Duration::ZERO).is_some() {}
            let mut found = match &topics {
                Topics::Listed(names) if names.len() <= SINGLE_REQUESTS_MAX => {
                    let mut found = Vec::new();
                    for name in names {
                        found.extend(existing(&client, Some(name), timeout, |topic| topic == name)?);
                    }
                    found
                }
                Topics::Listed(names) => {
                    let mut found = existing(&client, None, timeout, |topic| names.iter().any(|name| name == topic))?;
                    // The brokers omit topics that the user may not describe, unless they are requested by name.
                    let is_found = |name: &String| found.iter().any(|partition| *partition.topic == **name);
                    let missing: Vec<_> = names.iter().filter(|name| !is_found(name)).collect();
                    for name in missing {
                        found.extend(existing(&client, Some(name), timeout, |topic| topic == name)?);
                    }
                    found
                }
                Topics::Pattern(regex) => existing(&client, None, timeout, |topic| regex.is_match(topic))?,
            };
            found.sort();
            Ok(found)
        })
        .await
    }

    /// Returns the bounds of these partitions, without those that were deleted in the meantime.
    ///
    /// # Errors
    /// `Timeout` or `Unavailable` if a leader cannot be reached.
    pub(crate) async fn bounds(&self, partitions: Vec<TopicPartition>) -> Result<Vec<(TopicPartition, Bounds)>> {
        let (client, timeout) = (Arc::clone(&self.client), self.timeout);
        blocking(OFFSETS, move || {
            let mut found = Vec::with_capacity(partitions.len());
            for partition in partitions {
                match client.fetch_watermarks(&partition.topic, partition.number, timeout) {
                    Ok((low, high)) => found.push((partition, Bounds { low, high })),
                    Err(error) if is_unknown(&error) => {}
                    Err(error) => return Err(failed(OFFSETS, error)),
                }
            }
            Ok(found)
        })
        .await
    }
}

/// The partitions of one topic, or of all.
fn existing(
    client: &BaseConsumer,
    topic: Option<&str>,
    timeout: Duration,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<TopicPartition>> {
    let metadata = match client.fetch_metadata(topic, timeout) {
        Ok(metadata) => metadata,
        Err(error) if is_unknown(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(TOPICS, error)),
    };
    let mut found = Vec::new();
    for topic in metadata.topics().iter().filter(|topic| wanted(topic.name())) {
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(code) if is_unknown_code(code) => continue,
            Some(code) => return Err(unreadable(topic.name(), code)),
        }
        let name: Arc<str> = topic.name().into();
        let numbers = topic.partitions().iter().map(|partition| partition.id());
        found.extend(numbers.map(|number| TopicPartition { topic: Arc::clone(&name), number }));
    }
    Ok(found)
}

/// The error for a topic that exists or may exist, and whose metadata the brokers refuse.
fn unreadable(topic: &str, code: RDKafkaErrorCode) -> Error {
    let advice = match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => ": give the user READ and DESCRIBE on it, or leave it out",
        _ => "",
    };
    let cause = KafkaError::MetadataFetch(code);
    Error::with_source(kind_of(code), format!("the topic {topic} cannot be described{advice}"), cause)
}

/// True if a topic or a partition does not exist.
fn is_unknown(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_unknown_code)
}

/// As above, by its code.
fn is_unknown_code(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(code, UnknownPartition | UnknownTopic | UnknownTopicOrPartition)
}

/// Runs a blocking request of the client outside of the runtime's worker threads.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &'static str,
    ask: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(ask).await.unwrap_or_else(|ended| {
        Err(Error::with_source(cachefront_core::ErrorKind::Unavailable, format!("{doing} was cancelled"), ended))
    })
}

#[cfg(test)]
mod tests {
    use cachefront_core::ErrorKind;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    async fn partitions_of(brokers: &Brokers, topic: &str) -> Result<Vec<TopicPartition>> {
        brokers.partitions(&Topics::Listed(vec![topic.to_owned()])).await
    }

    #[tokio::test]
    async fn a_topic_that_may_not_be_described_is_an_error() {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t.transaction", 2, 1).expect("a topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let brokers = Brokers::new(&config, Duration::from_secs(10)).expect("a client");
        assert_eq!(partitions_of(&brokers, "t.transaction").await.expect("readable").len(), 2);

        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.topic_error("t.transaction", refused).expect("set");
        let error = partitions_of(&brokers, "t.transaction").await.expect_err("no right to");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("t.transaction") && error.to_string().contains("READ"), "{error}");

        let leaderless = RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        cluster.topic_error("t.transaction", leaderless).expect("set");
        let error = partitions_of(&brokers, "t.transaction").await.expect_err("it exists");
        assert_eq!(error.kind(), ErrorKind::Unavailable);

        let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        cluster.topic_error("t.transaction", unknown).expect("set");
        assert_eq!(partitions_of(&brokers, "t.transaction").await.expect("absent"), []);
    }
}
