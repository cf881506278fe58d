//! Large transactions and slow readers: parts, and memory that has a bound.

use std::time::Duration;

use cachefront_binlog::{BinlogSettings, BinlogSource};
use cachefront_core::source::{BatchLimits, ChangeSource, Columns};

use crate::server::{Database, PATIENCE, limits, only};

const MANY: &str = "INSERT INTO big (id, pad) WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 50000) \
                    SELECT id, REPEAT('x', 100) FROM n";

#[tokio::test]
async fn the_position_comes_with_the_last_part_of_a_transaction() {
    let mut db = Database::create().await;
    db.run(&[
        "CREATE TABLE big (id INT PRIMARY KEY, pad VARCHAR(200))",
        "SET SESSION cte_max_recursion_depth = 100000",
    ])
    .await;
    let from = db.checkpoint().await;
    let mut settings = BinlogSettings::default();
    // Far less than the transaction has: reading must pause, and go on as batches are fetched.
    settings.buffer_bytes_max = 256 << 10;
    let mut source = BinlogSource::builder(&db.url).settings(settings).connect().await.expect("a source");
    source.open(&from, &db.interest("big", only(&["id"]))).await.expect("open");
    db.run(&[MANY]).await;
    let goal = db.checkpoint().await.position;
    let small = BatchLimits { changes_max: 700, ..limits() };
    let (mut rows, mut parts) = (0, 0);
    let fetch = async {
        loop {
            let batch = source.next_batch(&small).await.expect("a batch");
            assert!(batch.changes() <= 700);
            rows += batch.changes();
            for part in batch.transactions.iter().filter(|transaction| !transaction.complete) {
                assert!(!batch.checkpoint.position.contains(&part.gtid), "the position waits for the last part");
                parts += 1;
            }
            if batch.checkpoint.position.covers(&goal) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, fetch).await.expect("the transaction ends");
    assert_eq!(rows, 50_000);
    assert!(parts >= 50_000 / 700, "{parts} parts");
}

#[tokio::test]
async fn an_event_beyond_16_mib_arrives_whole() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE docs (id INT PRIMARY KEY, doc LONGBLOB)"]).await;
    let mut source = db.following("docs").await;
    db.run(&["INSERT INTO docs VALUES (1, REPEAT('x', 20 * 1024 * 1024))", "DELETE FROM docs WHERE id = 1"]).await;
    let goal = db.checkpoint().await.position;
    let mut lengths = Vec::new();
    let fetch = async {
        loop {
            let batch = source.next_batch(&limits()).await.expect("a batch");
            for change in batch.transactions.iter().flat_map(|transaction| &transaction.changes) {
                let cachefront_core::event::Change::Row(row) = change else { panic!("{change:?}") };
                lengths.extend(row.images().map(|image| image.get::<Vec<u8>>("doc").expect("bytes").len()));
            }
            if batch.checkpoint.position.covers(&goal) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, fetch).await.expect("both arrive");
    assert_eq!(lengths, [20 << 20, 20 << 20]);
}

#[tokio::test]
async fn a_reader_that_is_slow_loses_nothing() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE big (id INT PRIMARY KEY, pad VARCHAR(200))"]).await;
    let from = db.checkpoint().await;
    let mut settings = BinlogSettings::default();
    settings.buffer_bytes_max = 4 << 10;
    settings.heartbeat = Duration::from_millis(100);
    settings.read_deadline = Duration::from_millis(300);
    let mut source = BinlogSource::builder(&db.url).settings(settings).connect().await.expect("a source");
    source.open(&from, &db.interest("big", Columns::All)).await.expect("open");
    for id in 0..100 {
        db.run(&[&format!("INSERT INTO big VALUES ({id}, 'x')")]).await;
    }
    // sleep: the reader is slow: the buffer is full for several deadlines. A pause of our own is not the server's silence.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ids = crate::server::lines(&crate::server::drain(&mut source, &mut db).await, "id");
    assert_eq!(ids, (0..100).map(|id| format!("insert >{id}")).collect::<Vec<_>>());
}
