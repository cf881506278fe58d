//! The laws of every change source, over Debezium and Kafka.

use std::ops::Range;

use async_trait::async_trait;
use cachefront::binlog::BinlogSource;
use cachefront_core::source::{ChangeSource, Columns, TableFilter};
use cachefront_core::testing::SourceFixture;
use cachefront_kafka::KafkaSource;
use cachefront_testkit::connector::{Connector, MARKER_COLUMN, Servers};
use cachefront_testkit::server::kafka::Topics;
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::unique::{self, Database};
use cachefront_testkit::wait;

/// A database for one test, and a connector for it.
struct Kafka {
    connector: Connector,
    database: Database,
    /// Rows inserted so far.
    rows: u64,
}

#[async_trait]
impl SourceFixture for Kafka {
    async fn source(&mut self) -> Box<dyn ChangeSource> {
        let binlog = BinlogSource::connect(self.database.url()).await.expect("a server");
        let mut source = KafkaSource::builder(self.connector.brokers(), self.connector.name())
            .marker(&self.connector.marker(), MARKER_COLUMN)
            .build(binlog)
            .expect("a source");
        // It chooses the topics, whose ends a new generation notes: the connector's first snapshot is before them.
        source.preflight(&self.table_filter()).await.expect("the server and the connector are as needed");
        Box::new(source)
    }

    fn table_filter(&self) -> TableFilter {
        let mut filter = TableFilter::new();
        filter.add(format!("{}.users", self.database.name()).as_str().into(), &Columns::All);
        filter
    }

    fn interleaves(&self) -> bool {
        true
    }

    async fn commit(&mut self, ids: Range<u64>) {
        self.rows += ids.end - ids.start;
        let rows: Vec<String> = ids.map(|id| format!("({id}, 'user{id}@x')")).collect();
        self.database.execute(&format!("INSERT INTO users VALUES {}", rows.join(", "))).await;
    }

    async fn commit_elsewhere(&mut self) {
        self.database.execute("INSERT INTO other VALUES ()").await;
    }

    async fn purge(&mut self) {
        let (topics, users, rows) = (Topics::of(self.connector.brokers()), self.connector.topic("users"), self.rows);
        wait::until("all rows are on Kafka", PATIENCE, move || topics.end(&users, 0) >= rows as i64).await;
        let (topics, users) = (Topics::of(self.connector.brokers()), self.connector.topic("users"));
        topics.delete_records(&users, 0, topics.end(&users, 0)).await;
    }
}

async fn prepared() -> Kafka {
    let database = unique::database("kfk").await;
    database.execute("CREATE TABLE users (id BIGINT UNSIGNED PRIMARY KEY, email VARCHAR(100))").await;
    database.execute("CREATE TABLE other (id INT AUTO_INCREMENT PRIMARY KEY)").await;
    let connector = Connector::start(&Servers::shared(), &database, &["users", "other"]).await;
    Kafka { connector, database, rows: 0 }
}

cachefront_core::source_suite!(prepared());
