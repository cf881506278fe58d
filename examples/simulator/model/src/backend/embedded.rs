//! Everything in this process: SQLite, memory, and the log table, read directly or through the embedded Kafka.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront::source::ChangeSource;
use cachefront::{Cdc, Clock, MemoryStore};
use simulator_cli::CliError;

use super::components::{Components, SourceFactory, cannot_open, cdc_over};
use crate::db::sqlite::{Sqlite, SqliteFile};
use crate::events::EventHub;
use crate::faults::Faults;
use crate::pipeline::LocalStatusStore;
use crate::settings::Source;
use crate::source::{EmbeddedKafka, LogTableSource};

/// How often the inspector looks for commits: often enough for its first check, 50 ms after a commit.
const INSPECTOR_PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn open(data_dir: &Path, source: Source, clock: &Arc<dyn Clock>) -> Result<Components, CliError> {
    let database = Sqlite::open(data_dir, Arc::clone(clock)).map_err(|error| {
        let what = format!("the embedded database in {} (CACHEFRONT_DATA_DIR)", data_dir.display());
        cannot_open(&what, &error)
    })?;
    let file = database.file().clone();
    let sources: Box<dyn SourceFactory> = match source {
        Source::Binlog => Box::new(LogTable(file)),
        Source::Kafka => Box::new(Kafka { carrier: EmbeddedKafka::start(&file).await?, file }),
    };
    let events = EventHub::default();
    let store = MemoryStore::new("simulator").with_clock(Arc::clone(clock));
    Ok(Components {
        keys: Arc::new(store.clone()),
        store: Arc::new(store),
        sink: Arc::new(events.clone()),
        followed: None,
        events,
        hint: format!(
            "sqlite3 {} \"UPDATE users SET name = 'Ada King' WHERE id = 1\"",
            database.file().path().display()
        ),
        board: Arc::new(LocalStatusStore::default()),
        sources,
        database: Arc::new(database),
    })
}

fn inspected(file: &SqliteFile) -> Result<Option<Box<dyn ChangeSource>>, CliError> {
    let source = LogTableSource::new(file).and_then(|source| source.with_pause(INSPECTOR_PAUSE));
    Ok(Some(Box::new(source.map_err(CliError::from_error)?)))
}

#[derive(Debug)]
struct LogTable(SqliteFile);

#[async_trait]
impl SourceFactory for LogTable {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn inspected(&self) -> Result<Option<Box<dyn ChangeSource>>, CliError> {
        inspected(&self.0)
    }

    async fn replicated(&self) -> cachefront::Result<Box<dyn ChangeSource>> {
        Ok(Box::new(LogTableSource::new(&self.0)?))
    }

    async fn cdc(&self, faults: &Arc<Faults>) -> Result<Cdc, CliError> {
        Ok(cdc_over(LogTableSource::new(&self.0).map_err(CliError::from_error)?, faults))
    }
}

#[derive(Debug)]
struct Kafka {
    carrier: EmbeddedKafka,
    file: SqliteFile,
}

#[async_trait]
impl SourceFactory for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    /// The log table itself: what the embedded Kafka loses is found, too.
    fn inspected(&self) -> Result<Option<Box<dyn ChangeSource>>, CliError> {
        inspected(&self.file)
    }

    /// The log table itself, which is not later than what the embedded Kafka carries.
    async fn replicated(&self) -> cachefront::Result<Box<dyn ChangeSource>> {
        Ok(Box::new(LogTableSource::new(&self.file)?))
    }

    async fn cdc(&self, faults: &Arc<Faults>) -> Result<Cdc, CliError> {
        Ok(cdc_over(self.carrier.source(&self.file).map_err(CliError::from_error)?, faults))
    }
}
