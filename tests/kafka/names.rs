//! A mapping in another case than the server's.

use cachefront::binlog::BinlogSource;
use cachefront::kafka::KafkaSource;
use cachefront_core::event::{Change, TableName};
use cachefront_core::source::{BatchLimits, ChangeSource, Columns, TableFilter};
use cachefront_testkit::connector::{Connector, MARKER_COLUMN, Servers};
use cachefront_testkit::server::{Connect, MySql};
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::{stack, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_folds_names_finds_mappings_in_any_case() {
    let mysql = MySql::start_folding().await;
    let brokers = stack::kafka_brokers();
    let connect = Connect::start(&brokers).await;
    let database = unique::database_on(&mysql.url(), "kfk").await;
    database.execute("CREATE TABLE Users (id INT PRIMARY KEY)").await;
    let servers = Servers::private(connect.rest(), &brokers, &mysql.url());
    let connector = Connector::start(&servers, &database, &["users"]).await;
    let mapped = TableName::new(&database.name().to_uppercase(), "Users");
    let mut filter = TableFilter::new();
    filter.add(mapped.clone(), &Columns::All);
    let binlog = BinlogSource::connect(database.url()).await.expect("a server");
    let marker = connector.marker().to_uppercase();
    let builder = KafkaSource::builder(connector.brokers(), connector.name()).marker(&marker, MARKER_COLUMN);
    let mut source = builder.build(binlog).expect("a source");
    source.preflight(&filter).await.expect("the case of a name is no finding");
    let head = source.probe().head().await.expect("a head").checkpoint;
    source.open(&head, &filter).await.expect("it opens");
    database.execute("INSERT INTO uSERS VALUES (7)").await;
    database.execute("TRUNCATE TABLE useRS").await;
    let executed = source.probe().head().await.expect("a head").checkpoint.position;
    let limits = BatchLimits {
        changes_max: 100,
        bytes_max: 1 << 20,
        wait_max: std::time::Duration::from_millis(200),
        linger_max: std::time::Duration::ZERO,
    };
    let read = async {
        let mut changes = Vec::new();
        loop {
            let batch = source.next_batch(&limits).await.expect("a batch");
            changes.extend(batch.transactions.into_iter().flat_map(|transaction| transaction.changes));
            if batch.checkpoint.position.covers(&executed) && changes.len() >= 2 {
                return changes;
            }
            // As an invalidator does with each heartbeat: its marker follows the changes on Kafka.
            source.probe().head().await.expect("a head");
        }
    };
    let changes =
        tokio::time::timeout(PATIENCE, read).await.expect("both changes are read, and the position proves it");
    let rows = changes.iter().filter_map(|change| match change {
        Change::Row(row) => row.after.as_ref().map(|image| (row.table.clone(), image.get::<i32>("id").expect("an id"))),
        _ => None,
    });
    assert!(rows.into_iter().any(|row| row == (mapped.clone(), 7)), "{changes:?}");
    let truncates = |change: &Change| matches!(change, Change::Tables { tables, .. } if *tables == [mapped.clone()]);
    assert!(changes.iter().any(truncates), "{changes:?}");
}
