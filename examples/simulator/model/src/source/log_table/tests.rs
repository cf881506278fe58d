use std::time::Instant;

use cachefront::event::Change;
use cachefront::source::Columns;

use super::*;

const LIMITS: BatchLimits =
    BatchLimits { changes_max: 100, bytes_max: 1 << 20, wait_max: Duration::from_secs(5), linger_max: Duration::ZERO };

struct Backend {
    _directory: tempfile::TempDir,
    file: SqliteFile,
    other: Connection,
}

impl Backend {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = SqliteFile::create(directory.path()).expect("a file");
        let other = Connection::open(file.path()).expect("a connection");
        Self { _directory: directory, file, other }
    }

    fn run(&self, sql: &str) {
        self.other.execute_batch(sql).expect("a statement");
    }

    fn at(&self, row: u64) -> Checkpoint {
        Checkpoint { position: position_of(&self.file.uuid(), row), resume: Bytes::new() }
    }

    #[expect(clippy::future_not_send, reason = "it is awaited where it is made, on one thread")]
    async fn open(&self, row: u64) -> Result<LogTableSource> {
        let mut source = LogTableSource::new(&self.file)?;
        let mut filter = TableFilter::new();
        filter.add("main.users".into(), &Columns::All);
        source.preflight(&filter).await?;
        source.open(&self.at(row), &filter).await?;
        Ok(source)
    }
}

fn ids(batch: &Batch) -> Vec<u64> {
    let changes = batch.transactions.iter().flat_map(|transaction| &transaction.changes);
    changes
        .map(|change| match change {
            Change::Row(row) => row.images().next().expect("an image").get("id").expect("an id"),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn commits_of_another_connection_arrive_in_order() {
    let world = Backend::new();
    let mut source = world.open(0).await.expect("a source");
    let mut slowest = Duration::ZERO;
    for id in 1..=50_u64 {
        let next = tokio::spawn(async move {
            let batch = source.next_batch(&LIMITS).await.expect("a batch");
            (source, batch, Instant::now())
        });
        let committed = Instant::now();
        world.run(&format!("INSERT INTO users (id, name, email) VALUES ({id}, 'n', '{id}@x')"));
        let (returned, batch, received) = next.await.expect("a batch");
        source = returned;
        assert_eq!(ids(&batch), [id]);
        assert_eq!(batch.checkpoint, world.at(id));
        slowest = slowest.max(received.duration_since(committed));
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[tokio::test]
async fn an_open_transaction_is_not_delivered_and_its_rows_come_together() {
    let world = Backend::new();
    let mut source = world.open(0).await.expect("a source");
    world.run("BEGIN; INSERT INTO users (id, name, email) VALUES (1, 'a', 'a@x'), (2, 'b', 'b@x');");
    let soon = BatchLimits { wait_max: Duration::from_millis(30), ..LIMITS };
    assert!(source.next_batch(&soon).await.expect("a batch").transactions.is_empty());
    world.run("COMMIT");
    assert_eq!(ids(&source.next_batch(&LIMITS).await.expect("a batch")), [1, 2]);
    let head = source.probe().head().await.expect("a head");
    assert_eq!(head.checkpoint, world.at(2));
}

#[tokio::test]
async fn batches_keep_to_their_limits_and_skip_nothing() {
    let world = Backend::new();
    world.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25)
         INSERT INTO users (id, name, email) SELECT i, 'n', i || '@x' FROM n",
    );
    let mut source = world.open(0).await.expect("a source");
    let mut seen = Vec::new();
    while seen.len() < 25 {
        let batch = source.next_batch(&BatchLimits { changes_max: 4, ..LIMITS }).await.expect("a batch");
        assert!(batch.changes() <= 4);
        seen.extend(ids(&batch));
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    source.open(&world.at(20), &Arc::clone(&source.filter)).await.expect("opened again");
    let small = BatchLimits { bytes_max: 1, ..LIMITS };
    assert_eq!(ids(&source.next_batch(&small).await.expect("a batch")), [21]);
}

#[tokio::test]
async fn a_dropped_wait_loses_no_change() {
    let world = Backend::new();
    let mut source = world.open(0).await.expect("a source");
    let dropped = tokio::time::timeout(Duration::from_millis(20), source.next_batch(&LIMITS)).await;
    assert!(dropped.is_err());
    world.run("INSERT INTO users (id, name, email) VALUES (1, 'a', 'a@x')");
    assert_eq!(ids(&source.next_batch(&LIMITS).await.expect("a batch")), [1]);
}

#[tokio::test]
async fn rows_that_another_client_removed_are_a_gap_and_never_silence() {
    let world = Backend::new();
    for id in 1..=5 {
        world.run(&format!("INSERT INTO users (id, name, email) VALUES ({id}, 'n', '{id}@x')"));
    }
    world.run("DELETE FROM cachefront_log WHERE seq <= 3");
    assert_eq!(world.open(1).await.expect_err("trimmed").kind(), ErrorKind::Gap);
    assert_eq!(world.open(99).await.expect_err("ahead").kind(), ErrorKind::Gap);
    let mut source = world.open(3).await.expect("what is left is whole");
    world.run("DELETE FROM cachefront_log");
    assert_eq!(source.next_batch(&LIMITS).await.expect_err("emptied").kind(), ErrorKind::Gap);
    let foreign = Checkpoint {
        position: "00000000-0000-4000-8000-000000000000:1-3".parse().expect("a position"),
        resume: Bytes::new(),
    };
    assert_eq!(source.open(&foreign, &TableFilter::new()).await.expect_err("foreign").kind(), ErrorKind::Gap);
}

#[tokio::test]
async fn a_table_that_was_created_again_is_a_gap() {
    let world = Backend::new();
    let mut source = world.open(0).await.expect("a source");
    world.run("DROP TABLE users; CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, email TEXT, updated_at TEXT)");
    assert_eq!(source.next_batch(&LIMITS).await.expect_err("dropped").kind(), ErrorKind::Gap);
    let head = source.probe().head().await.expect("a head");
    source.open(&head.checkpoint, &Arc::clone(&source.filter)).await.expect("opened again");
    world.run("INSERT INTO users (id, name, email) VALUES (9, 'a', 'a@x')");
    assert_eq!(ids(&source.next_batch(&LIMITS).await.expect("a batch")), [9]);
}

#[tokio::test]
async fn the_log_is_trimmed_behind_what_was_acknowledged() {
    let world = Backend::new();
    world.run("INSERT INTO users (id, name, email) VALUES (1, 'n', 'n@x')");
    for _ in 1..2_500 {
        world.run("UPDATE users SET name = 'm'");
    }
    let mut source = world.open(0).await.expect("a source");
    source.acknowledge(&world.at(500)).await.expect("acknowledged");
    source.acknowledge(&world.at(2_500)).await.expect("acknowledged");
    let first: i64 = world.other.query_row("SELECT min(seq) FROM cachefront_log", [], |row| row.get(0)).expect("a row");
    assert_eq!(first, 1_501);
}
