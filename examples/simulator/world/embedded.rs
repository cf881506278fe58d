//! Everything in this process: SQLite, memory, and the log table.

use std::path::Path;
use std::sync::Arc;

use cachefront::{Cdc, Clock, MemoryStore};

use super::{Sources, World};
use crate::db::sqlite::{Sqlite, SqliteFile};
use crate::domain::DbError;
use crate::events::EventHub;
use crate::fatal::Fatal;
use crate::pipeline::LocalBoard;
use crate::source::LogTableSource;

pub(super) fn open(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<World, Fatal> {
    let database = Sqlite::open(data_dir, Arc::clone(&clock)).map_err(|error| cannot_open(data_dir, &error))?;
    let sources = LogTable(database.file().clone());
    let events = EventHub::new();
    Ok(World {
        database: Arc::new(database),
        store: Arc::new(MemoryStore::new("simulator").with_clock(Arc::clone(&clock))),
        clock,
        sink: Arc::new(events.clone()),
        events,
        board: Arc::new(LocalBoard::default()),
        sources: Box::new(sources),
    })
}

fn cannot_open(data_dir: &Path, error: &DbError) -> Fatal {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    Fatal::new(format!("the embedded database in {} (CACHEFRONT_DATA_DIR) cannot be used: {cause}", data_dir.display()))
}

#[derive(Debug)]
struct LogTable(SqliteFile);

impl Sources for LogTable {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn cdc(&self) -> Result<Cdc, Fatal> {
        Ok(Cdc::new(LogTableSource::new(&self.0)?))
    }
}
