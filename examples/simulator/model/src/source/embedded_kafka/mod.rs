//! Kafka inside this process: the rows of the log table, in Debezium's form, go through librdkafka's own broker and are
//! read by the same adapter that reads a real Kafka.

mod broker;
mod envelope;
mod feeder;
mod producer;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cachefront::Result;
use cachefront::kafka::KafkaSource;
use cachefront::source::{ChangeSource, Checkpoint, LayeredSource, SourceLayer, TableFilter};
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
    pub fn source(&self, file: &SqliteFile) -> Result<LayeredSource<AppliedRows>> {
        let source = KafkaSource::builder(self.broker.address(), PREFIX)
            .topics(topics())
            // This broker waits for the full time even if it has records; a real one replies at once. Each round costs it about
            // 60 µs of a core, also while nothing happens.
            .client_setting("fetch.wait.max.ms", "24")
            .build(LogTableSource::new(file)?)?;
        Ok(LayeredSource::around(source, AppliedRows(Arc::clone(&self.applied))))
    }
}

/// Reports to the feeder up to where everything was applied.
#[derive(Debug)]
pub struct AppliedRows(Arc<AtomicU64>);

#[async_trait]
impl SourceLayer for AppliedRows {
    async fn preflight(&mut self, source: &mut dyn ChangeSource, filter: &TableFilter) -> Result<Vec<String>> {
        // Its warnings about markers and topics do not apply to this broker.
        source.preflight(filter).await.map(|_| Vec::new())
    }

    async fn open(&mut self, source: &mut dyn ChangeSource, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.0.fetch_max(last_row(&from.position), Ordering::Relaxed);
        source.open(from, filter).await
    }

    async fn acknowledge(&mut self, source: &mut dyn ChangeSource, checkpoint: &Checkpoint) -> Result<()> {
        self.0.fetch_max(last_row(&checkpoint.position), Ordering::Relaxed);
        source.acknowledge(checkpoint).await
    }
}
