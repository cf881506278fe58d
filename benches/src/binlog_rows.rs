//! `binlog_rows`: row changes a second through the source, keys only, over `mysqlbinlog --raw`, which only copies;
//! `binlog_values`: the same with all columns.

use std::{process::Command, time::Duration, time::Instant};

use cachefront::binlog::{BinlogSource, read_position};
use cachefront::event::TableName;
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, Columns, TableFilter};
use cachefront_testkit::{server::temporary_dir, stack, unique};
use mysql_async::{Opts, prelude::Queryable};

use crate::ratio::{Plan, Ratio, alternate};

const ROWS: u64 = 100_000;
const ROWS_PER_TRANSACTION: u64 = 100;

pub(crate) async fn measure(plan: Plan) -> Vec<Ratio> {
    let database = unique::database("bench").await;
    let rows = ROWS * plan.scale as u64;
    let log = Log::write(&database, rows).await;
    let url = stack::mysql_url();

    let mut ratios = Vec::new();
    for (name, columns) in [("binlog_rows", Columns::Only(vec!["id".into()])), ("binlog_values", Columns::All)] {
        let ours = async || {
            let started = Instant::now();
            let read = log.read(&url, &columns).await;
            assert_eq!(read, log.changes, "the source delivers every change once");
            read as f64 / started.elapsed().as_secs_f64()
        };
        let raw = async || {
            let started = Instant::now();
            log.copy(&url);
            log.changes as f64 / started.elapsed().as_secs_f64()
        };
        ratios.push(Ratio::new(name, "row changes per second", alternate(plan, ours, raw).await));
    }
    ratios
}

/// A file of the binary log that holds inserts and updates of one table and nothing else.
struct Log {
    file: String,
    before: Checkpoint,
    table: TableName,
    changes: u64,
}

impl Log {
    async fn write(database: &unique::Database, rows: u64) -> Self {
        database
            .execute(
                "CREATE TABLE user (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(255) NOT NULL, \
                 email VARCHAR(255) NOT NULL, updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))",
            )
            .await;
        let mut conn = database.connect().await;
        conn.query_drop("FLUSH BINARY LOGS").await.expect("the log can be rotated");
        let file: mysql_async::Row =
            conn.query_first("SHOW BINARY LOG STATUS").await.expect("a reply").expect("the log is on");
        let (position, _) = read_position(&mut conn).await.expect("a position");
        for first in (0..rows).step_by(usize::try_from(ROWS_PER_TRANSACTION).expect("a small number")) {
            let values: Vec<String> = (first..first + ROWS_PER_TRANSACTION)
                .map(|id| format!("({id},'user number {id}','user-{id}@example.org',DEFAULT)"))
                .collect();
            conn.query_drop(format!("INSERT INTO user VALUES {}", values.join(","))).await.expect("rows go in");
            let last = first + ROWS_PER_TRANSACTION - 1;
            let update = format!("UPDATE user SET name = CONCAT(name, '!') WHERE id BETWEEN {first} AND {last}");
            conn.query_drop(update).await.expect("rows are updated");
        }
        conn.query_drop("FLUSH BINARY LOGS").await.expect("the log can be rotated");
        let table = TableName::new(database.name(), "user");
        let before = Checkpoint { position, ..Checkpoint::default() };
        Self { file: file.get(0).expect("a file"), before, table, changes: 2 * rows }
    }

    async fn read(&self, url: &str, columns: &Columns) -> u64 {
        let mut filter = TableFilter::new();
        filter.add(self.table.clone(), columns);
        let mut source = BinlogSource::connect(url).await.expect("a source");
        source.open(&self.before, &filter).await.expect("the log is there");
        let limits = BatchLimits {
            changes_max: 10_000,
            bytes_max: 16 << 20,
            wait_max: Duration::from_secs(10),
            linger_max: Duration::ZERO,
        };
        let mut changes = 0;
        while changes < self.changes {
            let batch = source.next_batch(&limits).await.expect("a batch");
            assert!(!batch.transactions.is_empty(), "the log ended after {changes} changes");
            changes += batch.changes() as u64;
        }
        changes
    }

    fn copy(&self, url: &str) {
        let opts = Opts::from_url(url).expect("the URL of MySQL is well-formed");
        let dir = temporary_dir("mysqlbinlog");
        let status = Command::new(stack::mysqlbinlog())
            .args(["--no-defaults", "--read-from-remote-server", "--raw"])
            .arg(format!("--host={}", opts.ip_or_hostname()))
            .arg(format!("--port={}", opts.tcp_port()))
            .arg(format!("--user={}", opts.user().unwrap_or_default()))
            .arg(format!("--result-file={}/", dir.path().display()))
            .arg(&self.file)
            .env("MYSQL_PWD", opts.pass().unwrap_or_default())
            .status()
            .expect("mysqlbinlog can be started");
        assert!(status.success(), "mysqlbinlog failed: {status}");
    }
}
