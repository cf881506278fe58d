//! librdkafka's own broker, on a thread that keeps it alive: its handle must not move between threads.

use std::sync::mpsc;
use std::thread;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use simulator_cli::CliError;

/// A running broker, stopped when the value is dropped.
#[derive(Debug)]
pub(super) struct Broker {
    address: String,
    /// Dropping it wakes the thread, which then ends.
    _alive: mpsc::Sender<()>,
}

impl Broker {
    pub(super) fn start(topics: &[String]) -> Result<Self, CliError> {
        let (alive, ended) = mpsc::channel::<()>();
        let (started, address) = mpsc::channel();
        let topics = topics.to_vec();
        let keep = move || {
            let cluster = match open(&topics) {
                Ok(cluster) => cluster,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(cluster.bootstrap_servers()));
            let _ = ended.recv();
        };
        thread::Builder::new()
            .name("embedded-kafka".into())
            .spawn(keep)
            .map_err(|error| CliError::new(format!("no thread for the embedded Kafka: {error}")))?;
        match address.recv() {
            Ok(Ok(address)) => Ok(Self { address, _alive: alive }),
            Ok(Err(error)) => Err(CliError::new(format!("the embedded Kafka does not start: {error}"))),
            Err(_) => Err(CliError::new("the embedded Kafka ended at its start")),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

fn open(topics: &[String]) -> Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(1)?;
    for topic in topics {
        cluster.create_topic(topic, 1, 1)?;
    }
    Ok(cluster)
}
