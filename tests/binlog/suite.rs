//! The laws of every change source, over the binary log.

use std::ops::Range;

use async_trait::async_trait;
use cachefront_core::source::{ChangeSource, Columns, TableFilter};
use cachefront_core::testing::SourceFixture;
use cachefront_testkit::server::mysql::MySql;

use crate::server::{Database, USERS};

/// The shared server, or one of the test's own where the log is purged.
struct Binlog {
    db: Database,
    private: Option<MySql>,
}

#[async_trait]
impl SourceFixture for Binlog {
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
        self.private.as_ref().expect("a server of its own").purge_binlogs().await;
    }
}

async fn prepared(private: Option<MySql>) -> Binlog {
    let mut db = match &private {
        Some(mysql) => Database::on_private(mysql).await,
        None => Database::create().await,
    };
    db.run(&[USERS, "CREATE TABLE other (id INT AUTO_INCREMENT PRIMARY KEY)"]).await;
    Binlog { db, private }
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
