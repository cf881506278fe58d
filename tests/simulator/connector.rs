//! What a real connector emits with the simulator's template: the promises that the Kafka source is built on.

use std::time::{Duration, Instant};

use cachefront::Position;
use cachefront_testkit::connector::{Connector, Servers};
use cachefront_testkit::{stack, unique};
use hdrhistogram::Histogram;
use mysql_async::prelude::Queryable;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::Value;

/// How long anything healthy may take, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Reads one topic from its beginning.
struct Reader {
    consumer: BaseConsumer,
}

impl Reader {
    fn of(topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", stack::kafka_brokers())
            .set("group.id", unique::name("reader"))
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .set("topic.metadata.refresh.interval.ms", "200")
            .create()
            .expect("a consumer");
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
        consumer.assign(&assigned).expect("the partition is assigned");
        Self { consumer }
    }

    /// The next record's value; a topic may not be there yet.
    fn next(&self) -> Value {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "no record came");
            let Some(Ok(message)) = self.consumer.poll(Duration::from_secs(1)) else { continue };
            return serde_json::from_slice(message.payload().expect("no tombstones")).expect("JSON");
        }
    }

    /// The next record that `wanted` likes.
    fn find(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let found = self.next();
            if wanted(&found) {
                return found;
            }
        }
    }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path} in {value}"))
}

fn set(text: &str) -> Position {
    text.parse().expect("a GTID set")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_databases_heartbeat_names_what_precedes_it_in_the_log() {
    let database = unique::database("beat").await;
    database.execute("CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY)").await;
    let connector = Connector::start(&Servers::shared(), &database, &["item"]).await;
    let beats = Reader::of(&connector.heartbeat_topic());
    let first = beats.find(|beat| text(beat, "/source/snapshot") == "false");

    let mut conn = database.connect().await;
    conn.query_drop("INSERT INTO item VALUES (1)").await.expect("a row");
    let executed: String = conn.query_first("SELECT @@GLOBAL.gtid_executed").await.expect("a set").expect("a set");
    let beat = beats.find(|beat| set(text(beat, "/after/executed")).covers(&set(&executed)));
    let own = text(&beat, "/source/gtid");
    assert!(!set(text(&beat, "/after/executed")).covers(&set(own)), "it cannot know itself: {beat}");
    assert!(set(text(&beat, "/after/executed")).covers(&set(text(&first, "/source/gtid"))), "{beat}");

    // It is a transaction like any other, with its begin and its end.
    let transactions = Reader::of(&connector.transaction_topic());
    transactions.find(|sign| text(sign, "/status") == "BEGIN" && text(sign, "/id") == own);
    let end = transactions.find(|sign| text(sign, "/status") == "END" && text(sign, "/id") == own);
    assert_eq!(end["event_count"], 1);
    assert_eq!(end["data_collections"][0]["data_collection"], format!("{}.cachefront_heartbeat", database.name()));

    // Without a write it goes on beating.
    let begun = Instant::now();
    for _ in 0..3 {
        beats.next();
    }
    println!("one beat in {:?} while the database is idle", begun.elapsed() / 3);
    connector.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_whole_tables_and_unsigned_ids_are_exact() {
    let database = unique::database("ddl").await;
    database.execute("CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY, price DECIMAL(10,2))").await;
    let connector = Connector::start(&Servers::shared(), &database, &["item"]).await;
    database.execute("INSERT INTO item VALUES (18446744073709551615, 1.50)").await;
    let rows = Reader::of(&connector.topic("item"));
    let inserted = rows.next();
    assert_eq!(inserted["after"]["id"].as_u64(), Some(u64::MAX));
    assert_eq!(inserted["after"]["price"], "1.50");

    let changes = Reader::of(&connector.schema_change_topic());
    for (statement, kind, table) in [
        ("ALTER TABLE item ADD COLUMN note TEXT", "ALTER", "item"),
        ("DROP TABLE item", "DROP", "item"),
        ("CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY)", "CREATE", "item"),
        ("RENAME TABLE item TO kept, kept TO item", "ALTER", "item"),
    ] {
        database.execute(statement).await;
        let change = changes.find(|change| text(change, "/source/snapshot") == "false");
        let named = text(&change, "/source/table");
        println!("{statement}: source.table {named}, tableChanges {}", change["tableChanges"]);
        if statement.starts_with("RENAME") {
            // The list of changed tables may lack a name that the connector does not follow: all are those of the source.
            assert!(named.split(',').any(|name| name == table), "{change}");
            continue;
        }
        assert_eq!(text(&change, "/tableChanges/0/type"), kind, "{change}");
        let id = text(&change, "/tableChanges/0/id");
        assert_eq!(id, format!("\"{}\".\"{table}\"", database.name()));
        assert!(change.pointer("/source/gtid").is_some_and(Value::is_string), "{change}");
    }
    database.execute("TRUNCATE item").await;
    let truncated = rows.find(|row| text(row, "/op") == "t");
    assert_eq!(text(&truncated, "/source/table"), "item");
    assert!(truncated["transaction"].is_null(), "{truncated}");
    connector.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_on_its_topic_within_milliseconds() {
    const COMMITS: u64 = 250;
    let database = unique::database("lag").await;
    database.execute("CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY)").await;
    let connector = Connector::start(&Servers::shared(), &database, &["item"]).await;
    let rows = Reader::of(&connector.topic("item"));
    let mut conn = database.connect().await;
    // The topic is made with its first record, and a reader finds it some time later.
    conn.query_drop("INSERT INTO item VALUES (1000000)").await.expect("a row");
    rows.next();
    let arrivals = tokio::task::spawn_blocking(move || {
        let arrival = |_| (rows.next()["after"]["id"].as_u64().expect("an id"), Instant::now());
        (0..COMMITS).map(arrival).collect::<Vec<_>>()
    });
    // sleep: commits at a steady rate, so that each lag is that of one commit and not of a queue.
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut commits = Vec::new();
    for id in 0..COMMITS {
        ticks.tick().await;
        conn.exec_drop("INSERT INTO item VALUES (?)", (id,)).await.expect("a row");
        commits.push(Instant::now());
    }
    let mut lags = Histogram::<u64>::new(3).expect("a histogram");
    for (id, arrived) in arrivals.await.expect("all records") {
        let committed = commits[usize::try_from(id).expect("a small number")];
        lags.record(u64::try_from(arrived.saturating_duration_since(committed).as_micros()).unwrap_or(u64::MAX))
            .expect("a lag");
    }
    let [p50, p99, max] = [lags.value_at_quantile(0.5), lags.value_at_quantile(0.99), lags.max()];
    println!("commit to record: p50 {p50} us, p99 {p99} us, max {max} us, n {COMMITS}");
    // With Debezium's own polling interval it is a quarter of a second.
    assert!(p50 < 200_000, "p50 is {p50} us");
    connector.remove().await;
}
