//! The laws of every change source, over the log table of the simulator's embedded database.

use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use cachefront_core::source::{ChangeSource, Columns, TableFilter};
use cachefront_core::testing::SourceFixture;
use rusqlite::Connection;
use simulator_model::db::sqlite::SqliteFile;
use simulator_model::source::LogTableSource;

struct LogTable {
    _directory: tempfile::TempDir,
    file: SqliteFile,
    /// As another program has it.
    other: Mutex<Connection>,
}

impl LogTable {
    fn create() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = SqliteFile::create(directory.path()).expect("a file");
        let other = Connection::open(file.path()).expect("a connection");
        other.busy_timeout(std::time::Duration::from_secs(5)).expect("a timeout");
        other.execute_batch("CREATE TABLE elsewhere (id INTEGER PRIMARY KEY)").expect("a table");
        Self { _directory: directory, file, other: Mutex::new(other) }
    }

    fn run(&self, sql: &str) {
        self.other.lock().expect("not poisoned").execute_batch(sql).expect("a statement");
    }
}

#[async_trait]
impl SourceFixture for LogTable {
    async fn source(&mut self) -> Box<dyn ChangeSource> {
        Box::new(LogTableSource::new(&self.file).expect("a source"))
    }

    fn table_filter(&self) -> TableFilter {
        let mut filter = TableFilter::new();
        filter.add("main.users".into(), &Columns::All);
        filter
    }

    async fn commit(&mut self, ids: Range<u64>) {
        let rows: Vec<String> = ids.map(|id| format!("({id}, 'a', '{id}@x')")).collect();
        self.run(&format!("INSERT INTO users (id, name, email) VALUES {}", rows.join(", ")));
    }

    async fn commit_elsewhere(&mut self) {
        self.run("INSERT INTO elsewhere DEFAULT VALUES");
    }

    async fn purge(&mut self) {
        self.run("DELETE FROM cachefront_log");
    }
}

// Each row of the log is a transaction of its own: none is large enough to come in parts.
cachefront_core::source_suite!(@tests std::future::ready(LogTable::create());
    changes_come_in_commit_order
    a_checkpoint_leads_to_what_follows_it
    a_source_may_be_opened_again
    a_dropped_call_loses_no_change
    an_idle_wait_ends_with_an_empty_batch
    other_commits_move_the_position
    the_head_holds_every_commit
    a_source_that_is_not_open_returns_an_error
    a_lost_position_is_a_gap
);
