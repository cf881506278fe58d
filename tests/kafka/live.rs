//! The source without a cache, over a live connector.

use std::time::Duration;

use cachefront::Position;
use cachefront::binlog::{BinlogSource, read_position};
use cachefront_core::source::{BatchLimits, ChangeSource, Columns, TableFilter};
use cachefront_kafka::KafkaSource;
use cachefront_testkit::connector::{Connector, MARKER_COLUMN, Servers};
use cachefront_testkit::unique;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_delivered_and_the_position_follows() {
    let _ = tracing_subscriber::fmt()
        .with_test_writer()
        .with_env_filter(std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into()))
        .try_init();
    let database = unique::database("kfk").await;
    database.execute("CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY, value INT)").await;
    let connector = Connector::start(&Servers::shared(), &database, &["item"]).await;
    let table = format!("{}.item", database.name());
    let mut filter = TableFilter::new();
    filter.add(table.as_str().into(), &Columns::Only(vec!["id".into()]));
    let binlog = BinlogSource::connect(database.url()).await.expect("a server");
    let mut source = KafkaSource::builder(connector.brokers(), connector.name())
        .marker(&connector.marker(), MARKER_COLUMN)
        .build(binlog)
        .expect("a source");
    for finding in source.preflight(&filter).await.expect("preflight") {
        eprintln!("{finding}");
    }
    let head = source.probe().head().await.expect("head");
    source.open(&head.checkpoint, &filter).await.expect("open");
    database.execute("INSERT INTO item VALUES (1, 1), (2, 2)").await;
    let mut conn = database.connect().await;
    let goal: Position = read_position(&mut conn).await.expect("position").0;
    let limits = BatchLimits {
        changes_max: 1000,
        bytes_max: 1 << 20,
        wait_max: Duration::from_millis(100),
        linger_max: Duration::ZERO,
    };
    let began = std::time::Instant::now();
    loop {
        let batch = source.next_batch(&limits).await.expect("a batch");
        for transaction in &batch.transactions {
            eprintln!("{:?} {} {:?}", began.elapsed(), transaction.gtid, transaction.changes);
        }
        if batch.checkpoint.position.covers(&goal) {
            eprintln!("{:?} covered; {}", began.elapsed(), String::from_utf8_lossy(&batch.checkpoint.resume));
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not covered: {} by {}", goal, batch.checkpoint.position);
    }
}
