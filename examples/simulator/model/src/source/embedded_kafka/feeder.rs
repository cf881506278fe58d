//! Reads the log table and feeds the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachefront::clock::SystemClock;
use cachefront::source::{BatchLimits, ChangeSource, Columns, TableFilter};
use cachefront::{Clock, ErrorKind, Result};
use simulator_cli::CliError;
use tokio::task::JoinHandle;

use super::super::log_table::LogTableSource;
use super::envelope::{Record, records};
use super::producer::Producer;
use super::topics::{last_row, topic, topics};
use crate::db::sqlite::SqliteFile;

/// Maximum number of rows that are fed and not applied yet. With their transaction records they are well below what the
/// broker keeps of a partition.
const AHEAD_MAX: u64 = 2_000;

/// The poll interval while the feeder is [`AHEAD_MAX`] rows ahead.
const PAUSE: Duration = Duration::from_millis(10);

/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(200);

/// The running task, aborted when the value is dropped.
#[derive(Debug)]
pub(super) struct Feeder(JoinHandle<()>);

impl Drop for Feeder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Work {
    source: LogTableSource,
    filter: TableFilter,
    producer: Producer,
    applied: Arc<AtomicU64>,
    fed: u64,
    clock: SystemClock,
}

impl Feeder {
    /// Feeds everything that is committed from now on.
    pub(super) async fn start(
        file: &SqliteFile,
        brokers: &str,
        applied: Arc<AtomicU64>,
    ) -> std::result::Result<Self, CliError> {
        let producer = Producer::new(brokers)
            .map_err(|error| CliError::new(format!("the embedded Kafka cannot be fed: {error}")))?;
        let mut filter = TableFilter::new();
        filter.add("main.users".into(), &Columns::All);
        let mut work = Work {
            source: LogTableSource::new(file).map_err(CliError::from_error)?,
            filter,
            producer,
            applied,
            fed: 0,
            clock: SystemClock::new(),
        };
        work.open().await.map_err(CliError::from_error)?;
        work.warm_up().await;
        Ok(Self(tokio::spawn(work.run())))
    }
}

impl Work {
    /// Sends a tombstone to each topic: the client looks up a topic's leader once a second, and the first change should
    /// not wait for that.
    async fn warm_up(&self) {
        let tombstone = |topic| Record { topic, key: "null".to_owned(), value: None };
        let failed = self.offer(topics().into_iter().map(tombstone).collect()).await;
        if !failed.is_empty() {
            tracing::warn!(records = failed.len(), "the embedded Kafka takes its time");
        }
    }

    /// Starts at the end of the log.
    async fn open(&mut self) -> Result<()> {
        let head = self.source.probe().head().await?;
        self.fed = last_row(&head.checkpoint.position);
        self.source.open(&head.checkpoint, &self.filter).await
    }

    async fn run(mut self) {
        loop {
            let Err(error) = self.feed().await else { continue };
            tracing::warn!(error = %error.chain(), "the embedded Kafka is not fed for a moment");
            tokio::time::sleep(RETRY).await;
            // A loss is reported as the connector does it: by a new snapshot, after which nothing cached is trusted.
            if error.kind() == ErrorKind::Gap && self.open().await.is_ok() {
                self.send(vec![snapshot()]).await;
            }
        }
    }

    async fn feed(&mut self) -> Result<()> {
        while self.fed.saturating_sub(self.applied.load(Ordering::Relaxed)) >= AHEAD_MAX {
            tokio::time::sleep(PAUSE).await;
        }
        let limits = BatchLimits {
            changes_max: 200,
            bytes_max: 256 << 10,
            wait_max: Duration::from_secs(1),
            linger_max: Duration::ZERO,
        };
        let batch = self.source.next_batch(&limits).await?;
        let carried: Vec<Record> = {
            let captured_at = self.clock.now();
            batch.transactions.iter().flat_map(|transaction| records(transaction, captured_at)).collect()
        };
        self.send(carried).await;
        self.fed = last_row(&batch.checkpoint.position);
        self.source.acknowledge(&batch.checkpoint).await
    }

    /// Sends the records in order and waits until the broker has all of them.
    async fn send(&self, carried: Vec<Record>) {
        let mut pending = carried;
        while !pending.is_empty() {
            // Failed records are sent again; duplicates are recognized by the reader.
            pending = self.offer(pending).await;
            if !pending.is_empty() {
                tracing::warn!(records = pending.len(), "the embedded Kafka did not take records: they are sent again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Sends records once, on a thread that may block. Returns those that failed.
    async fn offer(&self, records: Vec<Record>) -> Vec<Record> {
        if records.is_empty() {
            return records;
        }
        let producer = self.producer.clone();
        match tokio::task::spawn_blocking(move || producer.send(records)).await {
            Ok(failed) => failed,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shut down, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// The first row of a snapshot, as a record.
fn snapshot() -> Record {
    let value = r#"{"before":null,"after":{"id":0},"source":{"version":"3.6.1.Final","connector":"mysql","name":"embedded","ts_ms":0,"snapshot":"first","db":"main","sequence":null,"ts_us":0,"ts_ns":0,"table":"users","server_id":0,"gtid":null,"file":"cachefront_log","pos":0,"row":0,"thread":null,"query":null},"transaction":null,"op":"r","ts_ms":0,"ts_us":0,"ts_ns":0}"#;
    Record { topic: topic("main.users"), key: r#"{"id":0}"#.to_owned(), value: Some(value.to_owned()) }
}
