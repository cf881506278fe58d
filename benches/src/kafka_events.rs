//! `kafka_events`: Debezium's row events a second through source, key map and invalidator into the memory store, over a
//! bare Kafka consumer that only counts the records of the same topics. Once where the message key is all that the
//! mapping needs, once (`kafka_events_full`) where the rows are decoded.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefront::binlog::{BinlogSource, read_position};
use cachefront::gate::OpenGate;
use cachefront::kafka::KafkaSource;

use cachefront::source::Checkpoint;
use cachefront::store::{Generation, Meta, Store};
use cachefront::{Cache, Cdc, MemoryStore, Position};
use cachefront_testkit::server::kafka::Topics;
use cachefront_testkit::{stack, unique};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;

use crate::ratio::{Plan, Ratio, alternate};

const EVENTS: u64 = 75_000;
const EVENTS_PER_TRANSACTION: u64 = 10;
const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const TABLE: &str = "bench.item";
const PATIENCE: Duration = Duration::from_secs(60);

/// What the mapping reads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reads {
    Key,
    Row,
}

pub(crate) async fn measure(plan: Plan) -> Vec<Ratio> {
    let log = Log::write(EVENTS * plan.scale as u64);
    let mut growth = 0_f64;
    let mut ratios = Vec::new();
    for (name, reads) in [("kafka_events", Reads::Key), ("kafka_events_full", Reads::Row)] {
        let ours = async || {
            let (rate, grown) = log.apply(reads).await;
            growth = growth.max(grown);
            rate
        };
        let rounds = alternate(plan, ours, async || log.count()).await;
        ratios.push(Ratio::new(name, "row events per second", rounds));
    }
    ratios.push(Ratio::plain("kafka_events_memory_growth", "MiB between a tenth and all of the events", growth));
    log.remove().await;
    ratios
}

/// Topics as a connector writes them: one of rows, one of transactions.
struct Log {
    prefix: String,
    events: u64,
}

impl Log {
    fn write(events: u64) -> Self {
        let log = Self { prefix: unique::name("bench"), events };
        let (rows, transactions) = (log.rows(), log.transactions());
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", stack::kafka_brokers()).set("linger.ms", "20").set("compression.type", "lz4");
        let producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext> =
            config.create().expect("a producer");
        let send = |topic: &str, key: String, value: String| {
            let mut record = BaseRecord::to(topic).key(&key).payload(&value);
            while let Err((_, back)) = producer.send(record) {
                record = back;
                producer.flush(PATIENCE).expect("the broker takes records");
            }
        };
        for number in 1..=events / EVENTS_PER_TRANSACTION {
            let id = format!("{SERVER}:{number}");
            let key = json!({ "id": id }).to_string();
            send(&transactions, key.clone(), json!({ "status": "BEGIN", "id": id, "ts_ms": 1 }).to_string());
            for order in 1..=EVENTS_PER_TRANSACTION {
                let row = (number - 1) * EVENTS_PER_TRANSACTION + order;
                send(&rows, json!({ "id": row }).to_string(), event(row, &id, order));
            }
            let tables = json!([{ "data_collection": TABLE, "event_count": EVENTS_PER_TRANSACTION }]);
            let end = json!({ "status": "END", "id": id, "event_count": EVENTS_PER_TRANSACTION,
                "data_collections": tables, "ts_ms": 1 });
            send(&transactions, key, end.to_string());
        }
        producer.flush(PATIENCE).expect("the broker takes records");
        log
    }

    fn rows(&self) -> String {
        format!("{}.{TABLE}", self.prefix)
    }

    fn transactions(&self) -> String {
        format!("{}.transaction", self.prefix)
    }

    /// Row events a second until all of them are applied, and by how many MiB the process grew meanwhile.
    async fn apply(&self, reads: Reads) -> (f64, f64) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(&unique::namespace()));
        let columns: &[&str] = if reads == Reads::Row { &["id", "email"] } else { &["id"] };
        let cache: Cache<u64, u64> = Cache::builder("item")
            .shared(Arc::clone(&store))
            .depends_on_columns(TABLE, columns, move |row| {
                if reads == Reads::Row {
                    row.get::<String>("email")?;
                }
                Ok(vec![row.get::<u64>("id")?])
            })
            .build()
            .expect("a cache");
        // The table is in the log only.
        let binlog =
            BinlogSource::builder(stack::mysql_url()).allow_missing_tables(true).connect().await.expect("a server");
        let mut conn = mysql_async::Conn::from_url(stack::mysql_url()).await.expect("a server");
        let (_, origin) = read_position(&mut conn).await.expect("a position");
        self.begin_at_the_beginning(&*store, &origin).await;
        let source = KafkaSource::builder(stack::kafka_brokers(), &self.prefix).build(binlog).expect("a source");
        let cdc = Cdc::new(source).bind(&cache).gate(Arc::new(OpenGate));
        let started = Instant::now();
        let cdc = cdc.spawn().expect("an invalidator");
        cdc.ready().await.expect("the invalidator runs");
        let mut statuses = cdc.watch();
        let applied = async |events: u64, statuses: &mut tokio::sync::watch::Receiver<cachefront::CdcStatus>| {
            let arrived = statuses.wait_for(|status| status.events_total >= events);
            tokio::time::timeout(PATIENCE, arrived).await.expect("in time").expect("it runs").events_total
        };
        applied(self.events / 10, &mut statuses).await;
        let early = resident();
        let total = applied(self.events, &mut statuses).await;
        let rate = self.events as f64 / started.elapsed().as_secs_f64();
        assert_eq!(total, self.events, "every event is applied once");
        let grown = resident() - early;
        let last: Position =
            format!("{SERVER}:1-{}", self.events / EVENTS_PER_TRANSACTION).parse().expect("a position");
        let complete = statuses.wait_for(|status| status.applied.covers(&last));
        drop(tokio::time::timeout(PATIENCE, complete).await.expect("every transaction is complete").expect("it runs"));
        cdc.shutdown().await;
        (rate, grown)
    }

    /// Leaves a checkpoint that an invalidator goes on from: the first record of each topic.
    async fn begin_at_the_beginning(&self, store: &dyn Store, origin: &str) {
        let first = json!({ "0": { "n": 0 } });
        let resume = json!({ "v": 1, "p": { (self.rows()): first, (self.transactions()): first } });
        let checkpoint = Checkpoint { position: Position::new(), resume: resume.to_string().into_bytes().into() };
        let meta = Meta::at_head(Generation(1), 1, 1, 0, origin, &checkpoint);
        let mut writer = store.writer().await.expect("a writer");
        writer.flush(&meta).await.expect("the store takes it");
    }

    /// Row events a second for a consumer that only counts records.
    fn count(&self) -> f64 {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", stack::kafka_brokers())
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            // As the source sets them: with the client's own a full queue pauses for a second.
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.min.messages", "100000");
        let started = Instant::now();
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for topic in [self.rows(), self.transactions()] {
            list.add_partition_offset(&topic, 0, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("the topics are there");
        let records = self.events + 2 * self.events / EVENTS_PER_TRANSACTION;
        let mut counted = 0;
        while counted < records {
            assert!(started.elapsed() < PATIENCE, "{counted} of {records} records came");
            if let Some(Ok(_)) = consumer.poll(Duration::from_millis(100)) {
                counted += 1;
            }
        }
        self.events as f64 / started.elapsed().as_secs_f64()
    }

    async fn remove(&self) {
        Topics::of(&stack::kafka_brokers()).delete(&[&self.rows(), &self.transactions()]).await;
    }
}

/// An update of a row as Debezium writes it: about 825 bytes.
fn event(id: u64, gtid: &str, order: u64) -> String {
    let row = |name: &str| {
        format!(
            r#"{{"id":{id},"email":"user-{id}@example.org","name":"{name} number {id}","balance":"1234.50","active":1,"updated_at":"2026-11-23T00:20:38.593Z"}}"#
        )
    };
    format!(
        r#"{{"before":{},"after":{},"source":{{"version":"3.6.1.Final","connector":"mysql","name":"bench","ts_ms":1795393238595,"snapshot":"false","db":"bench","sequence":null,"ts_us":1795393238595033,"ts_ns":1795393238595033000,"table":"item","server_id":2,"gtid":"{gtid}","file":"binlog.000001","pos":15428,"row":0,"thread":21,"query":null}},"transaction":{{"id":"{gtid}","total_order":{order},"data_collection_order":{order}}},"op":"u","ts_ms":1795393238608}}"#,
        row("user"),
        row("User"),
    )
}

/// What this process holds in memory, in MiB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
    let kib: f64 = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number of KiB");
    kib / 1024.0
}
