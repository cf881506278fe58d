//! A Kafka broker of one test's own.

use std::{fs, path::Path, process::Command, time::Duration};

use cachefront_stack::kafka::{CLASS, Ports, copy_template, data_of, write_config};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};

use super::jvm;
use super::private::{Private, Spec};
use crate::{stack, wait};

/// How long one request for metadata may take.
const METADATA: Duration = Duration::from_secs(2);
/// How long a change of topics may take.
const ADMIN: Duration = Duration::from_secs(20);
/// True if a broker listens on `port`, knows that port as its own, and leads: topics can be made.
async fn serves(port: u16) -> bool {
    if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        return false;
    }
    let metadata = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = config(&format!("127.0.0.1:{port}")).create().ok()?;
        let metadata = client.fetch_metadata(None, METADATA).ok()?;
        Some(metadata.brokers().iter().any(|broker| i32::from(port) == broker.port()))
    });
    metadata.await.ok().flatten().unwrap_or(false)
}

/// How a private broker is started.
#[derive(Debug)]
pub struct KafkaSpec {
    ports: Ports,
}

impl Spec for KafkaSpec {
    const NAME: &'static str = "kafka";
    /// One after a kill reads all its logs again.
    const START: Duration = Duration::from_secs(90);
    const STOP: Duration = Duration::from_secs(40);

    fn command(&self, dir: &Path) -> Command {
        let mut command = jvm::command(dir, CLASS);
        command.arg(dir.join("broker.properties"));
        command
    }

    async fn is_ready(&self, _dir: &Path, _pid: u32) -> bool {
        serves(self.ports.broker).await
    }
}

/// A broker: killed, restarted, and emptied at will.
pub type Kafka = Private<KafkaSpec>;

impl Kafka {
    /// Starts an empty broker. About three seconds.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts an empty broker with further settings, as in `["log.retention.ms=1000"]`.
    ///
    /// # Panics
    /// If it does not serve in time; the message holds its log.
    pub async fn start_with(extra: &[&str]) -> Self {
        let extra: Vec<String> = extra.iter().map(|line| (*line).to_owned()).collect();
        Self::launch(|dir| {
            copy_template(&stack::kafka_template(), dir).expect("the formatted logs can be copied");
            let ports = Ports::free();
            write_config(dir, ports, &extra).expect("the broker's settings can be written");
            KafkaSpec { ports }
        })
        .await
    }

    /// Address for clients: `127.0.0.1:port`, the same over restarts.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.spec.ports.broker)
    }

    /// A client that manages topics.
    pub fn topics(&self) -> Topics {
        Topics::of(&self.brokers())
    }

    /// Starts the broker again on the same ports empty: all records and all groups are lost.
    ///
    /// # Panics
    /// If it does not respond in time.
    pub async fn restart_empty(&mut self) {
        self.kill();
        fs::remove_dir_all(data_of(self.dir.path())).expect("the broker's logs can be removed");
        copy_template(&stack::kafka_template(), self.dir.path()).expect("the formatted logs can be copied");
        self.restart().await;
    }
}

/// What a test does with topics, on any broker.
pub struct Topics {
    client: AdminClient<DefaultClientContext>,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics").finish_non_exhaustive()
    }
}

impl Topics {
    /// On the brokers at this address.
    ///
    /// # Panics
    /// If the address is malformed.
    pub fn of(brokers: &str) -> Self {
        Self { client: config(brokers).create().expect("a client of Kafka") }
    }

    /// The names of all topics.
    ///
    /// # Panics
    /// If the broker does not respond.
    pub fn names(&self) -> Vec<String> {
        let metadata = self.client.inner().fetch_metadata(None, ADMIN).expect("the broker replies");
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
    }

    /// Makes a topic and waits until it is there.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn create(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for made in self.client.create_topics([&topic], &options()).await.expect("the broker replies") {
            made.unwrap_or_else(|(name, why)| panic!("the topic {name} cannot be made: {why}"));
        }
    }

    /// Removes topics and waits until they are gone; one that is not there is no error.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn delete(&self, names: &[&str]) {
        use rdkafka::types::RDKafkaErrorCode::UnknownTopicOrPartition;
        if names.is_empty() {
            return;
        }
        for gone in self.client.delete_topics(names, &options()).await.expect("the broker replies") {
            if let Err((name, why)) = gone
                && why != UnknownTopicOrPartition
            {
                panic!("the topic {name} cannot be removed: {why}");
            }
        }
        wait::until("the topics are gone", ADMIN, || {
            let left = self.names();
            !names.iter().any(|name| left.iter().any(|topic| topic == name))
        })
        .await;
    }

    /// The offset after the last record of one partition; 0 if there is no such topic.
    pub fn end(&self, topic: &str, partition: i32) -> i64 {
        self.client.inner().fetch_watermarks(topic, partition, ADMIN).map_or(0, |(_, high)| high)
    }

    /// Removes all records of one partition below `offset`, as retention does.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset)).expect("an offset");
        let done = self.client.delete_records(&list, &options()).await.expect("the broker replies");
        for element in done.elements() {
            element.error().unwrap_or_else(|why| panic!("records of {topic} cannot be removed: {why}"));
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ADMIN)).request_timeout(Some(ADMIN))
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // What a broker that is being killed makes the client say is of no interest.
    config.set("bootstrap.servers", brokers).set("log_level", "0").set("topic.metadata.refresh.interval.ms", "1000");
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_its_topics_over_a_kill_and_loses_them_when_emptied() {
        let mut kafka = Kafka::start().await;
        kafka.topics().create("kept", 2).await;
        kafka.kill();
        kafka.restart().await;
        assert!(kafka.topics().names().contains(&"kept".to_owned()));
        kafka.topics().delete(&["kept"]).await;
        kafka.topics().create("kept", 1).await;
        kafka.stop().await;
        kafka.restart_empty().await;
        assert!(!kafka.topics().names().contains(&"kept".to_owned()));
    }
}
