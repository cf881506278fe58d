use rdkafka::ClientConfig;

use super::*;
use crate::assemble::tests::completeness::{beat, begin, resumed};
use crate::assemble::tests::{counted, partitions, upto};
use crate::brokers::Bounds;

/// A session whose client reaches no broker. Each partition ends at offset 10, and was read up to it.
fn session() -> (Session, SharedView) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "g");
    let decoder = Decoder::new(crate::decode::DecoderSettings::default(), &TableFilter::new());
    let reader = Reader::start(&config, decoder, 1_000).expect("a thread");
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
