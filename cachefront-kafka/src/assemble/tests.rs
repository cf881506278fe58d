use bytes::Bytes;
use cachefront_core::ErrorKind;
use cachefront_core::event::{RowImage, Value};
use cachefront_core::source::{Columns, TableFilter};

use super::*;
use crate::event::{ConnectorVersion, Snapshot};
use crate::scope::ControlTopics;
use crate::topics::Topics;
use crate::tracker::Missing;

pub(crate) mod completeness;
use completeness::resumed;

const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const ROWS: usize = 0;
const TRANSACTIONS: usize = 1;

fn gtid(number: u64) -> Gtid {
    Gtid { origin: SERVER.into(), number }
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.into(), number: 0 }
}

pub(crate) fn upto(end: u64) -> Position {
    format!("{SERVER}:1-{end}").parse().expect("a position")
}

/// The partitions of rows, transactions, definitions and markers.
pub(crate) fn partitions() -> [TopicPartition; 4] {
    ["t.app.users", "t.transaction", "t", "t.app.heartbeat"].map(partition)
}

fn scope() -> Scope {
    let mut filter = TableFilter::new();
    filter.add("app.users".into(), &Columns::All);
    let marker = Some((TableName::from("app.heartbeat"), "executed".into()));
    let topics = ControlTopics { transactions: "t.transaction".into(), definitions: "t".into() };
    Scope::new(&filter, marker, topics, false, &crate::KafkaSettings::default())
}

/// A session that resumes at `resume` and transaction 10. Each partition ends at offset 100.
fn opened(resume: &Resume) -> Assembler {
    opened_with(scope(), resume)
}

fn opened_with(scope: Scope, resume: &Resume) -> Assembler {
    let found = partitions().map(|partition| (partition, Bounds { low: 0, high: 100 }));
    let from = Checkpoint { position: upto(10), resume: resume.encode() };
    Assembler::new(scope, &from, &found, InSnapshot::None).expect("nothing is gone").0
}

/// A generation that begins at transaction 10, with each partition ending at offset 100.
fn begun() -> Assembler {
    opened(&head())
}

fn head() -> Resume {
    let mut resume = Resume::new(true);
    for partition in partitions() {
        resume.set(&partition.topic, 0, ResumePoint { next: 100, seen: None });
    }
    resume
}

fn fetched(partition: usize, offset: i64, event: Result<Event>) -> Fetched {
    Fetched { at: (partition, offset), time: 1, bytes: 100, event }
}

fn row(offset: i64, number: u64, order: Option<BlockOrder>) -> Fetched {
    let row = RowChange { table: "app.users".into(), operation: Operation::Update, before: None, after: None };
    let origin = Origin { gtid: Some(gtid(number)), order, connector: version("3.6.1.Final"), ..Origin::default() };
    fetched(ROWS, offset, Ok(Event::Row { row, origin }))
}

fn version(text: &str) -> Option<ConnectorVersion> {
    ConnectorVersion::parse(text)
}

/// A row that a connector of this version wrote.
fn row_of(connector: &str, mut row: Fetched) -> Fetched {
    if let Ok(Event::Row { origin, .. }) = &mut row.event {
        origin.connector = version(connector);
    }
    row
}

pub(crate) fn counted(offset: i64, number: u64) -> Fetched {
    row(offset, number, Some(BlockOrder { in_transaction: 1, in_table: 1 }))
}

fn garbage(partition: usize, offset: i64) -> Fetched {
    fetched(partition, offset, Err(gap(format!("offset {offset} cannot be decoded"))))
}

fn read(offset: i64, snapshot: Snapshot) -> Fetched {
    let (table, origin) = ("app.users".into(), Origin::default());
    fetched(ROWS, offset, Ok(Event::Read { table, snapshot, row: None, origin }))
}

#[test]
fn an_undecodable_record_is_a_gap_that_the_next_generation_covers() {
    let mut assembler = begun();
    assembler.take(counted(98, 9)).expect("it is past");
    assembler.take(garbage(ROWS, 99)).expect("the generation began after it");
    assembler.take(garbage(TRANSACTIONS, 99)).expect("the generation began after it");
    assembler.take(counted(100, 11)).expect("the count of its transaction proves that no event is missing");
    assert_eq!(assembler.batch().transactions.len(), 1, "later changes are returned");
    let error = assembler.take(garbage(ROWS, 101)).expect_err("no generation covers it");
    assert_eq!(error.kind(), ErrorKind::Gap);
    let error = assembler.take(garbage(TRANSACTIONS, 100)).expect_err("no generation covers it");
    assert_eq!(error.kind(), ErrorKind::Gap);
}

#[test]
fn without_counts_a_later_record_shows_what_is_covered() {
    let mut covered = begun();
    covered.take(garbage(ROWS, 98)).expect("not known yet");
    covered.take(row(99, 10, None)).expect("a later record was visible, so this one was");
    covered.take(row(100, 11, None)).expect("no record is in doubt any more");
    let mut uncovered = begun();
    uncovered.take(garbage(ROWS, 98)).expect("not known yet");
    assert!(uncovered.take(row(99, 11, None)).is_err(), "it may have been invisible when the generation began");
}

#[test]
fn rows_without_a_gtid_flush_everything_once() {
    let unnamed = |offset| {
        let mut fetched = row(offset, 1, None);
        if let Ok(Event::Row { origin, .. }) = &mut fetched.event {
            origin.gtid = None;
        }
        fetched
    };
    let mut assembler = begun();
    assembler.take(unnamed(99)).expect("the generation began after it");
    assert!(assembler.take(unnamed(100)).is_err());
}

#[test]
fn a_snapshot_flushes_everything_once() {
    let mut assembler = begun();
    assembler.take(read(99, Snapshot::First)).expect("the generation began after it");
    assert!(assembler.take(read(100, Snapshot::First)).is_err());
    assert_eq!(assembler.snapshot(), InSnapshot::Rows(None), "the next session knows about it");
    assembler.take(counted(50, 9)).expect("it is past");
    assembler.take(read(101, Snapshot::Other)).expect("older rows do not end the snapshot");
    assembler.take(counted(102, 11)).expect("a change");
    assert!(assembler.take(read(103, Snapshot::Other)).is_err(), "a snapshot whose first row was not seen");
}

/// The schema of a table in a snapshot.
fn schema(offset: i64) -> Fetched {
    let (table, origin) = ("app.users".into(), Origin::default());
    fetched(2, offset, Ok(Event::Read { table, snapshot: Snapshot::Schema, row: None, origin }))
}

#[test]
fn a_snapshot_without_rows_flushes_everything_once() {
    let mut assembler = begun();
    assembler.take(schema(99)).expect("the generation began after it");
    assert!(assembler.take(schema(100)).is_err(), "the connector has lost its position in the log");
    assembler.take(schema(101)).expect("the next schema of the same snapshot");
    assembler.take(read(100, Snapshot::First)).expect("and its first row, if it reads rows");
    assembler.take(read(101, Snapshot::Other)).expect("and the others");
    assert!(assembler.take(schema(102)).is_err(), "another snapshot");
    let (table, origin) = ("app.users".into(), Origin::default());
    let incremental = Event::Read { table, snapshot: Snapshot::Incremental, row: None, origin };
    assembler.take(fetched(ROWS, 102, Ok(incremental))).expect("it runs in parallel");
    assembler.take(completeness::begin(100, 11)).expect("the log is read again");
    assert!(assembler.take(schema(103)).is_err(), "another snapshot without rows");
}

/// A record of a snapshot that was taken at this place of the log.
fn taken_at(place: &str, mut record: Fetched) -> Fetched {
    if let Ok(Event::Read { origin, .. }) = &mut record.event {
        origin.snapshot_at = Some(place.into());
    }
    record
}

#[test]
fn a_snapshot_that_is_repeated_after_its_schemas_flushes_again() {
    let mut assembler = resumed();
    assert!(assembler.take(taken_at("binlog.1:100", schema(10))).is_err(), "the connector has lost its position");
    assembler
        .take(taken_at("binlog.1:100", schema(11)))
        .expect("it failed before its first row, and no log was skipped");
    assert!(assembler.take(taken_at("binlog.1:200", schema(12))).is_err(), "it skips the log between the two places");
    assembler.take(taken_at("binlog.1:200", read(10, Snapshot::First))).expect("of the same snapshot");
    assembler.take(taken_at("binlog.1:200", read(11, Snapshot::Other))).expect("of the same snapshot");
    assert!(assembler.take(taken_at("binlog.1:300", read(12, Snapshot::Other))).is_err(), "of another one");
    assert!(assembler.take(taken_at("binlog.1:400", read(13, Snapshot::First))).is_err(), "of another one");
}

#[test]
fn flattened_rows_prove_positions_only_if_none_is_truncated() {
    for (hides_truncates, position) in [(true, upto(10)), (false, upto(11))] {
        let scope = Scope { is_flattened: true, hides_truncates, ..scope() };
        let mut assembler = opened_with(scope, &resumed().resume());
        assembler.take(completeness::begin(10, 11)).expect("a begin");
        assembler.take(counted(10, 11)).expect("a row");
        let tables = vec![("app.users".into(), 1)];
        let end = Event::End { gtid: Some(gtid(11)), events: 1, tables };
        assembler.take(fetched(TRANSACTIONS, 11, Ok(end))).expect("an end");
        let batch = assembler.batch();
        assert_eq!((batch.transactions.len(), batch.checkpoint.position), (1, position));
    }
}

#[test]
fn a_topic_that_is_mapped_no_more_is_no_loss() {
    let mut resume = resumed().resume();
    resume.set("t.app.orders", 0, ResumePoint { next: 7, seen: None });
    let found = partitions().map(|partition| (partition, Bounds { low: 0, high: 100 }));
    let open = |topics: &[&str]| {
        let reads = Topics::Listed(topics.iter().map(|&topic| topic.to_owned()).collect());
        let from = Checkpoint { position: upto(10), resume: resume.encode() };
        Assembler::new(Scope { reads, ..scope() }, &from, &found, InSnapshot::None).map(|_| ())
    };
    let mapped = ["t.app.users", "t.transaction", "t", "t.app.heartbeat"];
    open(&mapped).expect("a former release has read it");
    let deleted = open(&[&mapped[..], &["t.app.orders"]].concat()).expect_err("it is read");
    assert!(deleted.to_string().contains("deleted"), "{deleted}");
}

#[test]
fn a_topic_that_ends_before_its_last_record_was_created_again() {
    let mut resume = resumed().resume();
    resume.set("t.app.users", 0, ResumePoint { next: 10, seen: Some((100, 1)) });
    let found = partitions().map(|partition| (partition, Bounds { low: 0, high: 100 }));
    let from = Checkpoint { position: upto(10), resume: resume.encode() };
    let error = Assembler::new(scope(), &from, &found, InSnapshot::None).map(|_| ()).expect_err("records are gone");
    assert!(error.to_string().contains("created again"), "{error}");
}

#[test]
fn a_set_of_many_ranges_is_a_position() {
    // Every other number up to 400, and more text than a client may send.
    let origins = (0..400).map(|index| format!("3e11fa47-71ca-11e1-9e33-{index:012x}:1-5"));
    let ranges: String = (1..200).map(|index| format!(":{}", 2 * index)).collect();
    let executed: Vec<String> = origins.chain([format!("{SERVER}{ranges}")]).collect();
    let executed = executed.join(",");
    let set = Position::parse_stored(&executed).expect("a position");
    let image = RowImage::from_pairs([("executed", Value::Text(executed.into()))]);
    let row =
        RowChange { table: "app.heartbeat".into(), operation: Operation::Insert, before: None, after: Some(image) };
    let origin = Origin {
        gtid: Some(gtid(1_000)),
        order: Some(BlockOrder { in_transaction: 1, in_table: 1 }),
        ..Origin::default()
    };
    let mut assembler = begun();
    assembler.take(completeness::begin(100, 1_000)).expect("a begin");
    assembler.take(fetched(3, 100, Ok(Event::Row { row, origin }))).expect("a marker");
    let tables = vec![("app.heartbeat".into(), 1)];
    let end = Event::End { gtid: Some(gtid(1_000)), events: 1, tables };
    assembler.take(fetched(TRANSACTIONS, 101, Ok(end))).expect("an end");
    assert!(assembler.batch().checkpoint.position.covers(&set));
    let mut tracker = Tracker::new(set.clone(), 64);
    tracker.advance();
    assert!(tracker.position().covers(&set), "also if a session begins with it");
}

#[test]
fn resume_data_of_another_source_are_a_gap() {
    let from = Checkpoint { position: Position::new(), resume: Bytes::from_static(b"binlog.000001:4") };
    let error = Assembler::new(scope(), &from, &[], InSnapshot::None).expect_err("it cannot be read");
    assert_eq!(error.kind(), ErrorKind::Gap);
}
