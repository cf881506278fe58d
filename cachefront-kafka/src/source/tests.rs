use rdkafka::ClientConfig;

use super::*;
use crate::assemble::tests::completeness::{beat, begin, resumed};
use crate::assemble::tests::{counted, partitions, upto};
use crate::brokers::Bounds;

/// A session whose client reaches no broker, and what its probe has seen: each partition ends at offset 10, to which it
/// was read.
fn session() -> (Session, Shared) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "g");
    let decoder = Decoder::new(crate::decode::DecoderSettings::default(), &TableFilter::new());
    let reader = Reader::start(&config, decoder, 1_000).expect("a thread");
    let lookout = tokio::spawn(async {});
    let chunk = Vec::new().into_iter();
    let session = Session { reader, assembler: resumed(), chunk, due: None, stall: None, lookout };
    let shared = Shared::new(Topics::Listed(Vec::new()));
    for partition in partitions() {
        ends_at(&shared, &partition, 10);
        shared.lock().reading.insert(partition, 10);
    }
    (session, shared)
}

fn ends_at(shared: &Shared, partition: &Partition, high: i64) {
    shared.lock().bounds.insert(partition.clone(), Bounds { low: 0, high });
}

/// Watches as after another look of the probe, with no time to wait.
fn look(session: &mut Session, shared: &Shared) -> Result<()> {
    shared.lock().round += 1;
    session.watch(shared, Duration::ZERO)
}

#[tokio::test]
async fn what_the_brokers_refuse_ends_the_session() {
    let (mut session, shared) = session();
    look(&mut session, &shared).expect("nothing is wrong");
    shared.lock().refused = Some(Error::new(ErrorKind::Config, "no right to DESCRIBE"));
    assert_eq!(look(&mut session, &shared).expect_err("waiting is no use").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn markers_wait_for_the_ends_that_were_seen() {
    let (mut session, shared) = session();
    let [rows, transactions, ..] = partitions();
    ends_at(&shared, &rows, 11);
    ends_at(&shared, &transactions, 100);
    look(&mut session, &shared).expect("nothing is wrong");
    beat(&mut session.assembler, 10, 13);
    assert_ne!(session.assembler.batch().checkpoint.position, upto(13));
    session.assembler.reach((0, 11));
    look(&mut session, &shared).expect("nothing is wrong");
    assert_eq!(session.assembler.batch().checkpoint.position, upto(13), "no record waits but of transactions");
}

#[tokio::test]
async fn a_begin_is_lost_when_two_looks_found_its_topic_read() {
    let (mut session, shared) = session();
    session.assembler.take(begin(10, 12)).expect("a begin of another transaction");
    session.assembler.take(counted(10, 11)).expect("a row");
    for _ in 0..2 {
        look(&mut session, &shared).expect("it may still come");
    }
    let [_, transactions, ..] = partitions();
    ends_at(&shared, &transactions, 12);
    look(&mut session, &shared).expect("it may be the next record");
    ends_at(&shared, &transactions, 11);
    assert_eq!(look(&mut session, &shared).expect_err("it is lost").kind(), ErrorKind::Gap);
}
