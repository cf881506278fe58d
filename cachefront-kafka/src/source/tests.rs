use cachefront::testing::ScriptedSource;
use cachefront_core::source::{Columns, LayeredSource, SourceLayer};
use rdkafka::ClientConfig;

use super::*;
use crate::assemble::tests::completeness::{beat, begin, resumed};
use crate::assemble::tests::{counted, partitions, upto};
use crate::brokers::Bounds;
use crate::decode::{ColumnType, Record};
use crate::event::Event;

/// A session whose client reaches no broker. Each partition ends at offset 10, and was read up to it.
fn session() -> (Session, SharedView) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "g");
    let decoder = Decoder::new(crate::decode::DecoderSettings::default(), &TableFilter::new());
    let reader = Reader::start(&config, decoder, &KafkaSettings::default()).expect("a thread");
    let refresher = tokio::spawn(async {});
    let chunk = Vec::new().into_iter();
    let session = Session { reader, assembler: resumed(), chunk, due: None, stall: None, refresher };
    let shared = SharedView::new(Topics::Listed(Vec::new()));
    for partition in partitions() {
        ends_at(&shared, &partition, 10);
        shared.lock().reading.insert(partition, 10);
    }
    (session, shared)
}

fn ends_at(shared: &SharedView, partition: &TopicPartition, high: i64) {
    shared.lock().bounds.insert(partition.clone(), Bounds { low: 0, high });
}

/// Watches as after another metadata refresh, with a completion timeout of zero.
fn watch(session: &mut Session, shared: &SharedView) -> Result<()> {
    shared.lock().round += 1;
    session.watch(shared, Duration::ZERO)
}

#[tokio::test]
async fn refused_metadata_end_the_session() {
    let (mut session, shared) = session();
    watch(&mut session, &shared).expect("no error");
    shared.lock().refused = Some(Error::new(ErrorKind::Config, "no right to DESCRIBE"));
    assert_eq!(watch(&mut session, &shared).expect_err("retrying does not help").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn markers_wait_for_the_known_ends() {
    let (mut session, shared) = session();
    let [rows, transactions, ..] = partitions();
    ends_at(&shared, &rows, 11);
    ends_at(&shared, &transactions, 100);
    watch(&mut session, &shared).expect("no error");
    beat(&mut session.assembler, 10, 13);
    assert_ne!(session.assembler.batch().checkpoint.position, upto(13));
    session.assembler.reach((0, 11));
    watch(&mut session, &shared).expect("no error");
    assert_eq!(session.assembler.batch().checkpoint.position, upto(13), "only records of transactions are unread");
}

#[tokio::test]
async fn a_begin_is_lost_after_two_refreshes_with_its_topic_read() {
    let (mut session, shared) = session();
    session.assembler.take(begin(10, 12)).expect("a begin of another transaction");
    session.assembler.take(counted(10, 11)).expect("a row");
    for _ in 0..2 {
        watch(&mut session, &shared).expect("it may still arrive");
    }
    let [_, transactions, ..] = partitions();
    ends_at(&shared, &transactions, 12);
    watch(&mut session, &shared).expect("it may be the next record");
    ends_at(&shared, &transactions, 11);
    assert_eq!(watch(&mut session, &shared).expect_err("it is lost").kind(), ErrorKind::Gap);
}

fn source() -> KafkaSource {
    let builder = KafkaSource::builder("127.0.0.1:1", "t").marker("App.Beat", "executed");
    builder.build(ScriptedSource::new("a")).expect("a source")
}

#[tokio::test]
async fn a_table_that_is_mapped_in_another_case_is_read() {
    let source = source();
    let mut filter = TableFilter::new();
    filter.add("App.Users".into(), &Columns::All);
    source.choose_topics(&filter);
    let topics = source.shared.lock().topics.clone();
    for topic in ["t.App.Users", "t.app.users", "t.App.Beat", "t.app.beat", "t", "t.transaction"] {
        assert!(topics.has(topic), "{topic} is not in {topics:?}");
    }
    let value = br#"{"before":null,"after":{"id":7},"op":"c","source":{"db":"app","table":"users","ts_ms":1,
        "gtid":"3e11fa47-71ca-11e1-9e33-c80aa9429562:23"}}"#;
    let record = Record { topic: "t.app.users", partition: 0, offset: 0, key: None, value: Some(value) };
    let event = source.decoder(&filter).decode(&record).expect("a record");
    assert!(matches!(event, Event::Row { .. }), "{event:?}");
}

/// Refuses, with what it was asked to check.
#[derive(Debug)]
struct Refuses;

#[async_trait]
impl SourceLayer for Refuses {
    async fn preflight(&mut self, _: &mut dyn ChangeSource, filter: &TableFilter) -> Result<Vec<String>> {
        let typed = ["id", "at"].map(|column| filter.is_typed(&"app.users".into(), column));
        Err(Error::new(ErrorKind::Config, format!("relayed {}, typed {typed:?}", filter.is_relayed())))
    }
}

#[tokio::test]
async fn the_server_is_checked_for_the_connector() {
    let builder = KafkaSource::builder("127.0.0.1:1", "t").column_type("app.users.at", ColumnType::Date);
    let database = LayeredSource::around(ScriptedSource::new("a"), Refuses);
    let mut source = builder.build(database).expect("a source");
    let refused = source.preflight(&TableFilter::new()).await.expect_err("it is refused");
    assert_eq!(refused.to_string(), "relayed true, typed [false, true]");
}

#[tokio::test]
async fn a_closed_source_keeps_no_session() {
    let mut source = source();
    let (mut session, _) = session();
    session.refresher = tokio::spawn(std::future::pending());
    let (refresher, reader) = (session.refresher.abort_handle(), session.reader.ended());
    source.session = Some(session);
    source.shared.lock().reading.insert(partitions()[0].clone(), 10);
    source.close().await;
    assert!(source.session.is_none() && source.shared.lock().reading.is_empty());
    reader.await;
    assert!(refresher.is_finished());
    let limits = BatchLimits { changes_max: 1, bytes_max: 1, wait_max: Duration::MAX, linger_max: Duration::MAX };
    assert_eq!(source.next_batch(&limits).await.expect_err("it is closed").kind(), ErrorKind::Unavailable);
}
