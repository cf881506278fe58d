//! The laws of every change source, over the binary log.

use std::ops::Range;

use async_trait::async_trait;
use cachefront_core::source::{ChangeSource, Columns, TableFilter};
use cachefront_core::testing::SourceFixture;
use cachefront_testkit::server::mysql::MySql;

use crate::server::{Database, USERS};

/// A server whose log is read.
#[async_trait]
pub(crate) trait Logged: Send {
    /// Begins a new binary log and removes all older ones.
    async fn purge(&self);
}

/// The shared server, or one of the test's own where the log is purged.
#[async_trait]
impl Logged for Option<MySql> {
    async fn purge(&self) {
        self.as_ref().expect("a server of its own").purge_binlogs().await;
    }
}

/// The table `users` of a database, and its server.
pub(crate) struct Users<S> {
    db: Database,
    server: S,
}

impl<S> Users<S> {
    /// Creates the tables that the laws need.
    pub(crate) async fn prepared(mut db: Database, server: S) -> Self {
        db.run(&[USERS, "CREATE TABLE other (id INT AUTO_INCREMENT PRIMARY KEY)"]).await;
        Self { db, server }
    }
}

#[async_trait]
impl<S: Logged + Sync> SourceFixture for Users<S> {
    async fn source(&mut self) -> Box<dyn ChangeSource> {
        Box::new(self.db.source().await)
    }

    fn table_filter(&self) -> TableFilter {
        self.db.interest("users", Columns::All)
    }

    async fn commit(&mut self, ids: Range<u64>) {
        let rows: Vec<String> = ids.map(|id| format!("({id}, 'user{id}@x', NULL)")).collect();
        self.db.run(&[&format!("INSERT INTO users VALUES {}", rows.join(", "))]).await;
    }

    async fn commit_elsewhere(&mut self) {
        self.db.run(&["INSERT INTO other VALUES ()"]).await;
    }

    async fn purge(&mut self) {
        self.server.purge().await;
    }
}

async fn prepared(private: Option<MySql>) -> Users<Option<MySql>> {
    let db = match &private {
        Some(mysql) => Database::on_private(mysql).await,
        None => Database::create().await,
    };
    Users::prepared(db, private).await
}

mod shared {
    use super::prepared;

    cachefront_core::source_suite!(@tests prepared(None);
        changes_come_in_commit_order
        a_checkpoint_leads_to_what_follows_it
        a_source_may_be_opened_again
        a_dropped_call_loses_no_change
        a_large_transaction_comes_in_parts
        an_idle_wait_ends_with_an_empty_batch
        other_commits_move_the_position
        the_head_holds_every_commit
        a_source_that_is_not_open_returns_an_error
    );
}

mod private {
    use cachefront_testkit::server::mysql::MySql;

    use super::prepared;

    cachefront_core::source_suite!(@tests prepared(Some(MySql::start(&[]).await)); a_lost_position_is_a_gap);
}
