//! What the position may say, and what must be handed over whatever it says.

use super::*;

const SCHEMA: usize = 2;
const MARKER: usize = 3;

/// A session that goes on from offset 10 of every partition, at transaction 10.
fn resumed() -> Assembler {
    let mut resume = Resume::new(false);
    for partition in partitions() {
        resume.set(&partition.topic, 0, Place { next: 10, seen: None });
    }
    opened(&resume)
}

fn one() -> event::Place {
    event::Place { in_transaction: 1, in_table: 1 }
}

fn origin(number: u64, place: Option<event::Place>) -> Origin {
    Origin { gtid: Some(gtid(number)), place, ..Origin::default() }
}

fn begin(offset: i64, number: u64) -> Fetched {
    fetched(TRANSACTIONS, offset, Ok(Event::Begin { gtid: Some(gtid(number)) }))
}

fn end(offset: i64, number: u64, table: &str, events: u64) -> Fetched {
    let tables = vec![(table.into(), events)];
    fetched(TRANSACTIONS, offset, Ok(Event::End { gtid: Some(gtid(number)), events, tables }))
}

/// A statement that changes `table`, as the schema-change topic has it.
fn statement(offset: i64, number: u64, table: &str) -> Fetched {
    let tables = vec![table.into()];
    fetched(SCHEMA, offset, Ok(Event::Tables { tables, reason: "RENAME TABLE".into(), origin: origin(number, None) }))
}

/// A marker row of transaction `number`, which holds everything before it.
fn marker(offset: i64, number: u64) -> Fetched {
    let executed = format!("{SERVER}:1-{}", number - 1);
    let image = RowImage::from_pairs([("executed", Value::Text(executed.into()))]);
    let row =
        RowChange { table: "app.heartbeat".into(), operation: Operation::Insert, before: None, after: Some(image) };
    fetched(MARKER, offset, Ok(Event::Row { row, origin: origin(number, Some(one())) }))
}

/// Takes in a complete transaction that writes a marker.
fn beat(assembler: &mut Assembler, offset: i64, number: u64) {
    assembler.take(begin(offset, number)).expect("a begin");
    assembler.take(marker(offset, number)).expect("a marker");
    assembler.take(end(offset + 1, number, "app.heartbeat", 1)).expect("an end");
}

/// The tables that a batch voids.
fn voided(batch: &Batch) -> Vec<&str> {
    let changes = batch.transactions.iter().flat_map(|transaction| &transaction.changes);
    let tables = changes.filter_map(|change| match change {
        Change::Tables { tables, .. } => Some(tables),
        _ => None,
    });
    tables.flatten().map(TableName::as_str).collect()
}

#[test]
fn a_definition_that_is_read_after_the_marker_that_covers_it_still_voids() {
    let mut assembler = resumed();
    beat(&mut assembler, 10, 12);
    assert_eq!(assembler.batch().checkpoint.position, upto(12), "the marker counts");
    assembler.take(statement(10, 11, "app.users")).expect("a statement");
    assert_eq!(voided(&assembler.batch()), ["app.users"]);
}

#[test]
fn a_transaction_topic_that_is_never_read_does_not_stop_the_rows_for_ever() {
    let mut assembler = resumed();
    let pauses = |command: &Command| matches!(command, Command::Pause(_));
    let paused = (0..10_050).any(|number| {
        assembler.take(counted(10 + number, 11 + number as u64)).expect("a row");
        assembler.balance().iter().any(pauses)
    });
    assert!(paused, "the rows' partition is paused after open_transactions_max");
    assert!(assembler.stuck().is_some(), "without it no time ever runs out");
}

#[test]
fn a_counted_truncate_completes_its_transaction() {
    let mut assembler = resumed();
    assembler.take(begin(10, 11)).expect("a begin");
    assembler.take(end(11, 11, "app.users", 1)).expect("an end");
    let tables = vec!["app.users".into()];
    let truncate = Event::Tables { tables, reason: "TRUNCATE".into(), origin: origin(11, Some(one())) };
    assembler.take(fetched(ROWS, 10, Ok(truncate))).expect("a truncate");
    let batch = assembler.batch();
    assert_eq!((voided(&batch), &batch.checkpoint.position), (vec!["app.users"], &upto(11)));
    assert!(assembler.stuck().is_none(), "{:?}", assembler.stuck());
}
