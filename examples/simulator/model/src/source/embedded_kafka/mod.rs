//! Kafka inside this process: the rows of the log table, in Debezium's form, go through librdkafka's own broker and are
//! read by the same adapter that reads a real Kafka.

mod broker;
mod envelope;
mod feeder;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cachefront::Result;
use cachefront::event::Batch;
use cachefront::gate::VisibilityGate;
use cachefront::kafka::KafkaSource;
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, Lead, SourceProbe, TableFilter};
use simulator_cli::CliError;

use self::broker::Broker;
use self::feeder::Feeder;
use self::topics::{PREFIX, last_row, topics};
use super::log_table::LogTableSource;
use crate::db::sqlite::SqliteFile;

/// The broker and the task that feeds it; both end when the value is dropped.
#[derive(Debug)]
pub struct EmbeddedKafka {
    broker: Broker,
    _feeder: Feeder,
    /// The last row that was applied: the feeder must not get far ahead, since the broker keeps little.
    applied: Arc<AtomicU64>,
}

impl EmbeddedKafka {
    /// Starts both. Rows that are in the log already are not fed: the store is empty at a start, too.
    ///
    /// # Errors
    /// If the broker does not start, or the file cannot be read.
    pub async fn start(file: &SqliteFile) -> std::result::Result<Self, CliError> {
        let broker = Broker::start(&topics())?;
        let applied = Arc::new(AtomicU64::new(0));
        let feeder = Feeder::start(file, broker.address(), Arc::clone(&applied)).await?;
        Ok(Self { broker, _feeder: feeder, applied })
    }

    /// A new source over the broker's topics.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn source(&self, file: &SqliteFile) -> Result<CarriedSource> {
        let source = KafkaSource::builder(self.broker.address(), PREFIX)
            .topics(topics())
            // This broker waits for the full time even if it has records; a real one replies at once.
            .client_setting("fetch.wait.max.ms", "1")
            .build(LogTableSource::new(file)?)?;
        Ok(CarriedSource { source, applied: Arc::clone(&self.applied) })
    }
}

/// The Kafka source, which also reports to the feeder up to where everything was applied.
#[derive(Debug)]
pub struct CarriedSource {
    source: KafkaSource,
    applied: Arc<AtomicU64>,
}

#[async_trait]
impl ChangeSource for CarriedSource {
    fn describe(&self) -> String {
        self.source.describe()
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        // Its warnings about markers and topics do not apply to this broker.
        self.source.preflight(filter).await.map(|_| Vec::new())
    }

    async fn lead(&mut self) -> Result<Lead> {
        self.source.lead().await
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.applied.fetch_max(last_row(&from.position), Ordering::Relaxed);
        self.source.open(from, filter).await
    }

    fn origin(&self) -> Option<Box<str>> {
        self.source.origin()
    }

    async fn close(&mut self) {
        self.source.close().await;
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        self.source.next_batch(limits).await
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.applied.fetch_max(last_row(&checkpoint.position), Ordering::Relaxed);
        self.source.acknowledge(checkpoint).await
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        self.source.probe()
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        self.source.gate()
    }
}
