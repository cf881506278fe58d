//! A database of one test's own, and what the tests do with a source over it.

use std::time::Duration;

use cachefront_binlog::{BinlogSource, read_position};
use cachefront_core::event::{Batch, Change, RowImage, Transaction};
use cachefront_core::source::{BatchLimits, ChangeSource, Checkpoint, Columns, TableFilter};
use cachefront_core::{ErrorKind, Result};
use cachefront_testkit::server::mariadb::MariaDb;
use cachefront_testkit::server::mysql::MySql;
use cachefront_testkit::{stack, unique};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const USERS: &str =
    "CREATE TABLE users (id BIGINT UNSIGNED PRIMARY KEY, email VARCHAR(255) NOT NULL, age INT)";

/// A database that no other test uses, and a connection to it.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) conn: Conn,
    database: unique::Database,
}

impl Database {
    /// On the server that all tests share.
    pub(crate) async fn create() -> Self {
        Self::on(&stack::mysql_url(), "utf8mb4_0900_bin").await
    }

    /// On a server of the test's own.
    pub(crate) async fn on_private(mysql: &MySql) -> Self {
        Self::on(&mysql.url(), "utf8mb4_0900_bin").await
    }

    /// On a MariaDB of the test's own.
    pub(crate) async fn on_mariadb(server: &MariaDb) -> Self {
        Self::on(&server.url(), "utf8mb4_nopad_bin").await
    }

    async fn on(url: &str, collation: &str) -> Self {
        let database = unique::database_on(url, "binlog").await;
        database.execute(&format!("ALTER DATABASE {} COLLATE {collation}", database.name())).await;
        Self { url: url.to_owned(), conn: database.connect().await, database }
    }

    pub(crate) fn name(&self) -> &str {
        self.database.name()
    }

    /// Runs statements, one after the other.
    pub(crate) async fn run(&mut self, statements: &[&str]) {
        for statement in statements {
            self.conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// Connects again, after the server was killed.
    pub(crate) async fn reconnect(&mut self) {
        self.conn = self.database.connect().await;
    }

    /// One more connection.
    pub(crate) async fn another(&self) -> Conn {
        self.database.connect().await
    }

    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}.{name}", self.name())
    }

    pub(crate) fn interest(&self, name: &str, columns: Columns) -> TableFilter {
        let mut filter = TableFilter::new();
        filter.add(self.table(name).as_str().into(), &columns);
        filter
    }

    /// Everything executed so far.
    pub(crate) async fn checkpoint(&mut self) -> Checkpoint {
        let (position, _) = read_position(&mut self.conn).await.expect("a position");
        Checkpoint { position, ..Checkpoint::default() }
    }

    /// A new user with these rights (`REPLICATION SLAVE ON *.*`); none if there are none.
    pub(crate) async fn user(&mut self, rights: &str) -> User {
        let name = unique::name("u");
        self.run(&[&format!("CREATE USER {name} IDENTIFIED BY 's3cret!'")]).await;
        if !rights.is_empty() {
            self.run(&[&format!("GRANT {rights} TO {name}")]).await;
        }
        let address = self.url.rsplit_once('@').expect("the URL names a user").1.trim_end_matches('/').to_owned();
        User { url: format!("mysql://{name}:s3cret%21@{address}"), name }
    }

    /// Ends every connection of a user.
    pub(crate) async fn kill_connections_of(&mut self, user: &str) {
        let find = "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = ?";
        let ids: Vec<u64> = self.conn.exec(find, (user,)).await.expect("the list");
        assert!(!ids.is_empty(), "{user} has no connection");
        for id in ids {
            // It may be gone by itself by now.
            let _ = self.conn.query_drop(format!("KILL {id}")).await;
        }
    }

    /// A source over the server.
    pub(crate) async fn source(&self) -> BinlogSource {
        BinlogSource::connect(&self.url).await.expect("a source")
    }

    /// A source that is open at the log's end, for all columns of one table.
    pub(crate) async fn following(&mut self, table: &str) -> BinlogSource {
        let from = self.checkpoint().await;
        let mut source = self.source().await;
        source.open(&from, &self.interest(table, Columns::All)).await.expect("the source opens");
        source
    }
}

/// A user of one test's own. It goes with the test's server.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) url: String,
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

/// Fetches until the position covers what is executed now, and returns all transactions.
pub(crate) async fn drain(source: &mut BinlogSource, database: &mut Database) -> Vec<Transaction> {
    try_drain(source, database).await.expect("batches")
}

/// The same, up to the first error.
pub(crate) async fn try_drain(source: &mut BinlogSource, database: &mut Database) -> Result<Vec<Transaction>> {
    let goal = database.checkpoint().await.position;
    let fetch = async {
        let mut transactions = Vec::new();
        loop {
            let Batch { transactions: more, checkpoint } = source.next_batch(&limits()).await?;
            transactions.extend(more);
            if checkpoint.position.covers(&goal) {
                return Ok(transactions);
            }
        }
    };
    tokio::time::timeout(PATIENCE, fetch).await.expect("everything executed arrives")
}

/// The gap that the log ends in.
pub(crate) async fn gap(source: &mut BinlogSource, database: &mut Database) -> String {
    let error = try_drain(source, database).await.expect_err("a gap");
    assert_eq!(error.kind(), ErrorKind::Gap, "{}", error.chain());
    error.chain()
}

/// One line for each change, with the named column's values: `insert >1`, `update 1>2`, `delete 1>`, `tables a,b`.
pub(crate) fn lines(transactions: &[Transaction], column: &str) -> Vec<String> {
    let cell = |image: &Option<RowImage>| image.as_ref().map(|image| text(image, column)).unwrap_or_default();
    let changes = transactions.iter().flat_map(|transaction| &transaction.changes);
    changes
        .map(|change| match change {
            Change::Row(row) => format!("{} {}>{}", row.operation.as_str(), cell(&row.before), cell(&row.after)),
            Change::Tables { tables, .. } => {
                let names: Vec<&str> = tables.iter().map(|table| table.name()).collect();
                format!("tables {}", names.join(","))
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

/// A column's value as text.
pub(crate) fn text(image: &RowImage, column: &str) -> String {
    use cachefront_core::event::{Column, Value};
    match image.column(column).expect("the column") {
        Column::Value(Value::Null) => "NULL".into(),
        Column::Value(Value::Int(number)) => number.to_string(),
        Column::Value(Value::UInt(number)) => number.to_string(),
        Column::Value(Value::Float(number)) => format!("{number:?}"),
        Column::Value(Value::Text(text)) => text.to_string(),
        Column::Value(Value::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        other => format!("{other:?}").to_lowercase(),
    }
}
