//! Every record of a live connector is decoded, in every form that it can be configured to write.

use std::time::{Duration, Instant};

use cachefront_core::source::{Columns, TableFilter};
use cachefront_kafka::connect::ConnectClient;
use cachefront_kafka::decode::{Decoder, DecoderSettings, Form, Record};
use cachefront_kafka::event::Event;
use cachefront_testkit::connector::{Connector, Servers};
use cachefront_testkit::server::kafka::Topics;
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::unique::{self, Database};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Rows of every type, every kind of change, and changes of tables as a whole.
const STATEMENTS: [&str; 16] = [
    "INSERT INTO basic VALUES (1, 'a', 10), (2, 'b', 20), (3, NULL, 30)",
    "UPDATE basic SET v = v + 1, name = 'ä€😀' WHERE id IN (1, 2)",
    "DELETE FROM basic WHERE id = 3",
    "UPDATE basic SET id = 7 WHERE id = 1",
    "REPLACE INTO basic VALUES (2, 'c', 1)",
    "INSERT INTO nokey VALUES (1, 'x')",
    "UPDATE nokey SET b = 'y'",
    "DELETE FROM nokey",
    "INSERT INTO pair VALUES (1, 'x', 'v')",
    "UPDATE pair SET v = 'w'",
    "INSERT INTO types VALUES (18446744073709551615, -5, 16777215, -9223372036854775808, -12345.678901, 1.5, -2.25e300, \
     '2026-11-23', '-101:02:03.456', '2026-11-23 01:02:03.123456', '2026-11-23 01:02:03.789', 2026, 'chär', 'y', 'p,r', \
     b'1000000001', x'00ff80', '{\"a\": [1, null, \"\\\\\"source\\\\\":{\"]}', NULL)",
    "UPDATE types SET ti = -128, tm = '838:59:59', nul = 1",
    "ALTER TABLE basic ADD COLUMN extra INT FIRST",
    "INSERT INTO basic (id, name, v) VALUES (9, 'after', 1)",
    "TRUNCATE TABLE basic",
    "DROP TABLE nokey",
];

const TABLES: [&str; 4] = [
    "CREATE TABLE basic (id INT PRIMARY KEY, name VARCHAR(50), v INT)",
    "CREATE TABLE nokey (a INT, b VARCHAR(9))",
    "CREATE TABLE pair (a INT, b VARCHAR(9), v VARCHAR(9), PRIMARY KEY (a, b))",
    "CREATE TABLE types (id BIGINT UNSIGNED PRIMARY KEY, ti TINYINT, mu MEDIUMINT UNSIGNED, bi BIGINT, de DECIMAL(20,6), \
     fl FLOAT, dbl DOUBLE, da DATE, tm TIME(3), dt DATETIME(6), ts TIMESTAMP(3) NULL, yr YEAR, ch CHAR(10), \
     en ENUM('x','y'), se SET('p','q','r'), bt BIT(10), bl BLOB, js JSON, nul INT)",
];

/// What the transformation adds to flattened rows.
const FIELDS: &str = "op,source.db,source.table,source.gtid,source.ts_ms,source.snapshot,source.version";

/// The numbers of events read from all topics.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    rows: usize,
    tables: usize,
    truncates: usize,
    ends: usize,
}

/// Reads everything that the connector has written, up to the row of the table `last`.
fn read(connector: &Connector, database: &Database, settings: DecoderSettings) -> Seen {
    let mut filter = TableFilter::new();
    for table in ["basic", "nokey", "pair", "types", "last"] {
        filter.add(format!("{}.{table}", database.name()).as_str().into(), &Columns::All);
    }
    let mut decoder = Decoder::new(settings, &filter);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", connector.brokers())
        .set("group.id", connector.name())
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    let own = |topic: &&String| topic.starts_with(connector.name()) && !topic.ends_with(".schema-history");
    for topic in Topics::of(connector.brokers()).names().iter().filter(own) {
        list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("assigned");
    let (mut seen, began, mut last_at) = (Seen::default(), Instant::now(), None::<Instant>);
    // The topics are read in parallel, so other topics may have records after the last row.
    while last_at.is_none_or(|at| at.elapsed() < Duration::from_secs(1)) {
        assert!(began.elapsed() < PATIENCE, "the last row does not arrive: {seen:?}");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("a record");
        let record = Record {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key(),
            value: message.payload(),
        };
        match decoder.decode(&record).unwrap_or_else(|error| panic!("{error}\n{:?}", message.payload_view::<str>())) {
            Event::Row { row, origin } => {
                assert!(origin.gtid.is_some(), "a row without a GTID on {}", record.topic);
                let version = origin.connector.expect("the row tells the connector's version");
                assert!(version.keeps_counts(), "the tests run on {version}");
                seen.rows += 1;
                if row.table.as_str().ends_with(".last") {
                    last_at = Some(Instant::now());
                }
            }
            Event::Tables { reason, .. } => {
                seen.tables += 1;
                seen.truncates += usize::from(reason == "TRUNCATE");
            }
            Event::End { .. } => seen.ends += 1,
            _ => {}
        }
    }
    seen
}

async fn emitted(settings: &[(&str, &str)]) -> (Connector, Database) {
    let database = unique::database("emit").await;
    for statement in TABLES {
        database.execute(statement).await;
    }
    database.execute("CREATE TABLE last (id INT PRIMARY KEY)").await;
    let tables = ["basic", "nokey", "pair", "types", "last"];
    let connector = Connector::start_with(&Servers::shared(), &database, &tables, settings).await;
    for statement in STATEMENTS {
        database.execute(statement).await;
    }
    database.execute("INSERT INTO last VALUES (1)").await;
    let (topics, last) = (Topics::of(connector.brokers()), connector.topic("last"));
    cachefront_testkit::wait::until("the last row is on Kafka", PATIENCE, move || topics.end(&last, 0) > 0).await;
    (connector, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_envelope_without_and_with_schemas() {
    let plain = {
        let (connector, database) = emitted(&[]).await;
        read(&connector, &database, DecoderSettings::default())
    };
    // A change of the primary key is two rows; REPLACE of an existing row is an update.
    assert_eq!((plain.rows, plain.tables, plain.truncates), (18, 3, 1), "{plain:?}");
    assert!(plain.ends > 13, "{plain:?}");
    let schemas = [("key.converter.schemas.enable", "true"), ("value.converter.schemas.enable", "true")];
    let (connector, database) = emitted(&schemas).await;
    let with_schemas = read(&connector, &database, DecoderSettings::default());
    assert_eq!((with_schemas.rows, with_schemas.tables), (plain.rows, plain.tables));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flattened_rows_lack_truncates() {
    let (connector, database) = emitted(&[
        ("transforms", "unwrap"),
        ("transforms.unwrap.type", "io.debezium.transforms.ExtractNewRecordState"),
        ("transforms.unwrap.add.fields", FIELDS),
        ("transforms.unwrap.delete.tombstone.handling.mode", "rewrite"),
    ])
    .await;
    let settings = DecoderSettings::default()
        .with_form(Form::Flattened)
        .with_transaction_topic(connector.transaction_topic())
        .with_schema_change_topic(connector.schema_change_topic());
    let seen = read(&connector, &database, settings);
    // Updates lack the previous values, so they flush a table whose mapping reads all columns.
    assert!(seen.rows > 5 && seen.tables > 5, "{seen:?}");
    // The transformation drops its record, so such rows prove no positions.
    assert_eq!(seen.truncates, 0, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_tells_the_connectors_version() {
    let client = ConnectClient::builder(Servers::shared().connect.url()).build().expect("a client");
    let version = client.connector_version().await.expect("the worker responds").expect("the connector is installed");
    assert!(version.keeps_counts(), "the tests run on {version}");
}
