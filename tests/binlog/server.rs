//! The server that the tests run on, and a database of each test's own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cachefront_binlog::{BinlogSource, read_position};
use cachefront_core::event::{Batch, Change, Transaction};
use cachefront_core::source::{BatchLimits, ChangeSource, Checkpoint, Columns, Interests};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The administrator's URL. The tests do not run without a server, and do not pass without one.
pub(crate) fn url() -> String {
    std::env::var("CACHEFRONT_MYSQL_URL").expect(
        "CACHEFRONT_MYSQL_URL is not set: run the tests by `cargo xtask test`, which starts a server, or name one with an \
         administrator, e.g. mysql://root:secret@127.0.0.1:3306/",
    )
}

pub(crate) async fn admin() -> Conn {
    Conn::new(Opts::from_url(&url()).expect("CACHEFRONT_MYSQL_URL is a MySQL URL")).await.expect("the server answers")
}

/// A database that no other test uses. It is dropped when the test ends well.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) conn: Conn,
}

impl Database {
    pub(crate) async fn create(test: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cf_{test}_{}_{number}", std::process::id());
        let mut conn = admin().await;
        conn.query_drop(format!("DROP DATABASE IF EXISTS {name}")).await.expect("drop");
        conn.query_drop(format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"))
            .await
            .expect("create");
        conn.query_drop(format!("USE {name}")).await.expect("use");
        Self { name, conn }
    }

    /// Runs statements, one after the other.
    pub(crate) async fn run(&mut self, statements: &[&str]) {
        for statement in statements {
            self.conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    pub(crate) fn interest(&self, name: &str, columns: Columns) -> Interests {
        let mut interests = Interests::new();
        interests.add(self.table(name).as_str().into(), &columns);
        interests
    }

    /// Everything executed so far.
    pub(crate) async fn checkpoint(&mut self) -> Checkpoint {
        let (position, _) = read_position(&mut self.conn).await.expect("a position");
        Checkpoint { position, ..Checkpoint::default() }
    }

    pub(crate) async fn drop(mut self) {
        self.conn.query_drop(format!("DROP DATABASE {}", self.name)).await.expect("drop");
        self.conn.disconnect().await.expect("good-bye");
    }
}

pub(crate) fn only(columns: &[&str]) -> Columns {
    Columns::Only(columns.iter().map(|name| Box::from(*name)).collect())
}

pub(crate) fn limits() -> BatchLimits {
    BatchLimits {
        changes_max: 1_000,
        bytes_max: 4 << 20,
        wait_max: Duration::from_millis(250),
        linger_max: Duration::ZERO,
    }
}

/// Fetches until the position covers what is executed now, and answers all transactions.
pub(crate) async fn drain(source: &mut BinlogSource, database: &mut Database) -> Vec<Transaction> {
    let goal = database.checkpoint().await.position;
    let fetch = async {
        let mut transactions = Vec::new();
        loop {
            let Batch { transactions: more, checkpoint } = source.next_batch(&limits()).await.expect("a batch");
            transactions.extend(more);
            if checkpoint.position.covers(&goal) {
                return transactions;
            }
        }
    };
    tokio::time::timeout(PATIENCE, fetch).await.expect("everything executed arrives")
}

/// One line for each change: `insert -> id=1`, `update id=1 -> id=2`, `tables a,b`.
pub(crate) fn lines(transactions: &[Transaction], column: &str) -> Vec<String> {
    let cell = |image: &Option<cachefront_core::event::RowImage>| {
        image.as_ref().map(|image| format!("{:?}", image.column(column).expect("the column"))).unwrap_or_default()
    };
    transactions
        .iter()
        .flat_map(|transaction| &transaction.changes)
        .map(|change| match change {
            Change::Row(row) => format!("{} {}>{}", row.operation.as_str(), cell(&row.before), cell(&row.after))
                .replace("Value(", "")
                .replace(')', "")
                .replace('(', " "),
            Change::Tables { tables, .. } => {
                format!("tables {}", tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            other => panic!("{other:?}"),
        })
        .collect()
}
