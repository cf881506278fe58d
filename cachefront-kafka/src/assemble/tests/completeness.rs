//! What the position may contain, and what must be returned whatever it contains.

use super::*;

const SCHEMA: usize = 2;
const MARKER: usize = 3;

/// A session that resumes at offset 10 of every partition, at transaction 10.
pub(crate) fn resumed() -> Assembler {
    let mut resume = Resume::new(false);
    for partition in partitions() {
        resume.set(&partition.topic, 0, ResumePoint { next: 10, seen: None });
    }
    opened(&resume)
}

fn one() -> BlockOrder {
    BlockOrder { in_transaction: 1, in_table: 1 }
}

fn origin(number: u64, order: Option<BlockOrder>) -> Origin {
    Origin { gtid: Some(gtid(number)), order, connector: version("3.6.1.Final"), ..Origin::default() }
}

pub(crate) fn begin(offset: i64, number: u64) -> Fetched {
    fetched(TRANSACTIONS, offset, Ok(Event::Begin { gtid: Some(gtid(number)) }))
}

fn end(offset: i64, number: u64, table: &str, events: u64) -> Fetched {
    let tables = vec![(table.into(), events)];
    fetched(TRANSACTIONS, offset, Ok(Event::End { gtid: Some(gtid(number)), events, tables }))
}

/// A statement that changes `table`, from the topic of schema changes.
fn statement(offset: i64, number: u64, table: &str) -> Fetched {
    let tables = vec![table.into()];
    fetched(SCHEMA, offset, Ok(Event::Tables { tables, reason: "RENAME TABLE".into(), origin: origin(number, None) }))
}

/// A marker row of transaction `number`, with the set of all earlier ones.
fn marker(offset: i64, number: u64) -> Fetched {
    let executed = format!("{SERVER}:1-{}", number - 1);
    let image = RowImage::from_pairs([("executed", Value::Text(executed.into()))]);
    let row =
        RowChange { table: "app.heartbeat".into(), operation: Operation::Insert, before: None, after: Some(image) };
    fetched(MARKER, offset, Ok(Event::Row { row, origin: origin(number, Some(one())) }))
}

/// Adds a complete transaction that writes a marker.
pub(crate) fn beat(assembler: &mut Assembler, offset: i64, number: u64) {
    assembler.take(begin(offset, number)).expect("a begin");
    assembler.take(marker(offset, number)).expect("a marker");
    assembler.take(end(offset + 1, number, "app.heartbeat", 1)).expect("an end");
}

/// The tables that a batch flushes.
fn flushed(batch: &Batch) -> Vec<&str> {
    let changes = batch.transactions.iter().flat_map(|transaction| &transaction.changes);
    let tables = changes.filter_map(|change| match change {
        Change::Tables { tables, .. } => Some(tables),
        _ => None,
    });
    tables.flatten().map(TableName::as_str).collect()
}

#[test]
fn a_definition_that_is_read_after_its_marker_flushes() {
    let mut assembler = resumed();
    beat(&mut assembler, 10, 12);
    assert_eq!(assembler.batch().checkpoint.position, upto(12), "the marker takes effect");
    assembler.take(statement(10, 11, "app.users")).expect("a statement");
    assert_eq!(flushed(&assembler.batch()), ["app.users"]);
}

#[test]
fn every_record_of_a_statement_flushes_its_table() {
    let mut assembler = resumed();
    assembler.take(statement(10, 11, "app.users")).expect("DROP TABLE users, carts: the first record");
    assembler.take(statement(11, 11, "app.carts")).expect("and the second");
    let batch = assembler.batch();
    assert_eq!((flushed(&batch), &batch.checkpoint.position), (vec!["app.users", "app.carts"], &upto(11)));
}

#[test]
fn a_repeated_definition_flushes_again() {
    let mut assembler = resumed();
    assembler.take(statement(10, 9, "app.users")).expect("the connector repeats what it sent before its restart");
    assert_eq!(flushed(&assembler.batch()), ["app.users"]);
}

#[test]
fn a_generation_skips_the_definitions_that_its_head_contains() {
    let mut assembler = begun();
    assembler.take(statement(98, 10, "app.users")).expect("the head contains it");
    assert_eq!(flushed(&assembler.batch()), [""; 0], "or each new generation would flush everything again");
    beat(&mut assembler, 100, 12);
    assert_eq!(assembler.batch().checkpoint.position, upto(12));
    assembler.take(statement(99, 11, "app.users")).expect("it was written before the generation, and not visible");
    assert_eq!(flushed(&assembler.batch()), ["app.users"], "a marker is not the head");
    assembler.take(statement(100, 9, "app.users")).expect("written after the generation began");
    assert_eq!(flushed(&assembler.batch()), ["app.users"]);
}

#[test]
fn a_generation_keeps_its_head_until_it_is_settled() {
    let mut assembler = opened_with(Scope { tail: 10, ..scope() }, &head());
    assembler.take(begin(90, 10)).expect("past");
    assembler.take(marker(90, 10)).expect("past");
    beat(&mut assembler, 100, 12);
    let unsettled = assembler.batch().checkpoint;
    assert_eq!(unsettled.position, upto(10), "a restart would take the marker for the head");
    assert!(Resume::decode(&unsettled.resume).expect("readable").is_end);
    assembler.take(counted(90, 10)).expect("past");
    assembler.take(statement(90, 10, "app.users")).expect("the head contains it");
    let settled = assembler.batch().checkpoint;
    assert_eq!(settled.position, upto(12));
    assert!(!Resume::decode(&settled.resume).expect("readable").is_end);
}

#[test]
fn a_tail_is_compared_with_the_head_and_not_with_a_marker() {
    let mut assembler = opened_with(Scope { tail: 10, ..scope() }, &head());
    beat(&mut assembler, 100, 12);
    assembler.batch();
    let command = assembler.take(counted(90, 11)).expect("a row");
    assert!(matches!(command, Some(Command::Seek(_, 80))), "earlier records may not have been visible: {command:?}");
    let mut assembler = begun();
    beat(&mut assembler, 100, 12);
    assembler.batch();
    assembler.take(garbage(SCHEMA, 98)).expect("not known yet");
    let next = assembler.take(statement(99, 11, "app.users"));
    assert!(next.is_err(), "the undecodable record may not have been visible when the generation began");
}

#[test]
fn a_marker_waits_for_records_before_the_known_ends() {
    let mut assembler = resumed();
    let ends =
        |rows: i64| move |partition: &TopicPartition| Some(if *partition.topic == *"t.app.users" { rows } else { 0 });
    assembler.hold_markers(ends(11));
    beat(&mut assembler, 10, 13);
    let held = assembler.batch().checkpoint.position;
    assert!(held.contains(&gtid(13)) && !held.contains(&gtid(11)), "{held}: the marker's own transaction is complete");
    assembler.take(counted(10, 9)).expect("the record before the end");
    assembler.hold_markers(ends(11));
    assert_eq!(assembler.batch().checkpoint.position, upto(13));
}

#[test]
fn rows_of_an_xa_transaction_flush_everything_once() {
    let mut assembler = resumed();
    assembler.take(begin(10, 11)).expect("the connector counts events");
    let error = assembler.take(row(10, 12, None)).expect_err("its commit has no record");
    assert_eq!(error.kind(), ErrorKind::Gap);
    assert!(error.to_string().contains("XA") && error.to_string().contains("BinlogSource"), "{error}");
    assert!(assembler.uncounted(), "the source remembers it");

    // The next generation, resumed after a restart.
    let mut head = head();
    head.uncounted = true;
    let mut assembler = opened(&head);
    beat(&mut assembler, 100, 21);
    assert_eq!(assembler.batch().checkpoint.position, upto(10), "no row was read yet, and no position is claimed");
    assembler.take(row(100, 20, None)).expect("it is returned, also after the marker");
    let batch = assembler.batch();
    assert_eq!((batch.transactions.len(), &batch.checkpoint.position), (1, &upto(10)), "no position is claimed");
    let resume = Resume::decode(&batch.checkpoint.resume).expect("readable");
    assert!(resume.uncounted, "also after a restart");
}

#[test]
fn xa_rows_before_the_first_begin_are_recognised() {
    let mut assembler = resumed();
    assembler.take(row(10, 12, None)).expect("the connector may write no transaction metadata");
    assembler.take(row(11, 9, None)).expect("whatever the position contains");
    assert_eq!(assembler.batch().transactions.len(), 2);
    assert!(assembler.take(begin(10, 13)).is_err(), "it does write them");
    let mut assembler = begun();
    assembler.take(counted(98, 9)).expect("an order");
    assembler.take(row(99, 10, None)).expect("it may be older than the metadata");
    assert!(assembler.take(begin(0, 9)).is_err(), "it is not, and its commit may come after the generation");
    let mut assembler = resumed();
    assembler.take(counted(98, 9)).expect("an order");
    assert!(assembler.take(row(99, 10, None)).is_err(), "the metadata begins before this session");
}

#[test]
fn flattened_rows_without_an_order_are_no_sign_of_xa() {
    let mut assembler = resumed();
    assembler.scope.is_flattened = true;
    assembler.take(begin(10, 11)).expect("the connector counts events");
    assembler.take(row(10, 11, None)).expect("the transformation leaves the order out");
    assembler.take(end(11, 11, "app.users", 0)).expect("an end");
    assert_eq!(assembler.batch().checkpoint.position, upto(10), "no position is claimed");
    let mut assembler = resumed();
    assembler.scope.is_flattened = true;
    assembler.take(counted(10, 11)).expect("the transformation leaves it in");
    assert!(assembler.take(row(11, 12, None)).is_err());
}

#[test]
fn a_flattened_row_without_previous_values_is_counted() {
    let flush = |offset, number, in_table| {
        let order = Some(BlockOrder { in_transaction: in_table, in_table });
        let tables = vec!["app.users".into()];
        fetched(ROWS, offset, Ok(Event::Tables { tables, reason: "an update".into(), origin: origin(number, order) }))
    };
    let mut assembler = resumed();
    assembler.scope.is_flattened = true;
    assembler.take(flush(10, 11, 1)).expect("the first of two");
    assembler.take(begin(10, 11)).expect("a begin");
    assembler.take(end(11, 11, "app.users", 2)).expect("an end");
    assert_eq!(assembler.batch().checkpoint.position, upto(10), "one of two was read");
    assembler.take(flush(11, 11, 2)).expect("the second");
    let batch = assembler.batch();
    assert_eq!((flushed(&batch).len(), &batch.checkpoint.position), (1, &upto(11)));
    assembler.take(flush(12, 11, 2)).expect("a repeated one");
    assert!(assembler.batch().transactions.is_empty(), "it was returned before");
}

#[test]
fn rows_continue_without_any_record_of_the_transaction_topic() {
    let mut assembler = resumed();
    let pauses = |command: &Command| matches!(command, Command::Pause(_));
    let paused = (0..10_050).any(|number| {
        assembler.take(counted(10 + number, 11 + number as u64)).expect("a row");
        assembler.balance().iter().any(pauses)
    });
    assert!(paused, "the rows' partition is paused after open_transactions_max");
    let stuck = assembler.stuck().expect("otherwise the wait would never end");
    assert_eq!((&stuck.gtid, &stuck.missing), (&gtid(11), &Missing::Begin));
    let ends = |end| move |of: &TopicPartition| Some(if *of.topic == *"t.transaction" { end } else { 99_999 });
    assert!(assembler.is_read(&stuck, ends(10)), "the rows' own partition need not be read to its end");
    assert!(!assembler.is_read(&stuck, ends(11)), "the BEGIN may still come");
    assembler.lose(&stuck).expect("only the position is lost, no row");
    assert!(assembler.stuck().is_none());
    assert!(matches!(assembler.balance().as_slice(), [Command::Resume(_)]), "reading rows continues");
    beat(&mut assembler, 10, 20_000);
    assert_eq!(assembler.batch().checkpoint.position, upto(10), "no position is claimed");
}

#[test]
fn a_missing_begin_is_a_loss_if_others_were_read() {
    let mut assembler = resumed();
    assembler.take(counted(10, 11)).expect("a row");
    assembler.take(begin(10, 12)).expect("a begin");
    assembler.take(end(11, 12, "app.users", 0)).expect("an end");
    assembler.batch();
    let stuck = assembler.stuck().expect("its BEGIN is missing");
    assert_eq!((&stuck.gtid, &stuck.missing), (&gtid(11), &Missing::Begin));
    assert_eq!(assembler.lose(&stuck).expect_err("it is lost").kind(), ErrorKind::Gap);
}

#[test]
fn lost_events_are_detected_at_an_end_without_a_record() {
    let mut assembler = resumed();
    assembler.take(begin(10, 11)).expect("a begin");
    assembler.take(end(11, 11, "app.users", 1)).expect("an end");
    let stuck = assembler.stuck().expect("its event is missing");
    // A transaction marker of the producer takes the last offset of each partition.
    let ends = |partition: &TopicPartition| Some(if *partition.topic == *"t.transaction" { 13 } else { 11 });
    assert!(!assembler.is_read(&stuck, ends));
    for at in [(ROWS, 11), (TRANSACTIONS, 13), (SCHEMA, 11), (MARKER, 11)] {
        assembler.reach(at);
    }
    assert!(assembler.is_read(&stuck, ends));
    assert_eq!(assembler.lose(&stuck).expect_err("it is lost").kind(), ErrorKind::Gap);
    assert!(!assembler.is_read(&stuck, |_| None), "a partition without a known end is not read");
    assembler.partitions[SCHEMA].paused = true;
    let ends = |partition: &TopicPartition| Some(if *partition.topic == *"t" { 99 } else { 11 });
    assert!(assembler.is_read(&stuck, ends), "a paused partition is ahead of the transaction");
}

#[test]
fn rows_after_a_repeated_begin_are_returned() {
    let old = |offset| row_of("3.6.0.Final", counted(offset, 11));
    let mut assembler = resumed();
    assembler.take(begin(10, 11)).expect("a begin");
    assembler.take(begin(11, 11)).expect("the connector was restarted");
    assembler.take(end(12, 11, "app.users", 1)).expect("it counts what came after");
    for offset in [10, 11] {
        assembler.take(old(offset)).expect("another row, with the same number");
        let batch = assembler.batch();
        assert_eq!((batch.transactions.len(), &batch.checkpoint.position), (1, &upto(10)));
    }
    let stuck = assembler.stuck().expect("its counts may leave out rows");
    assert_eq!(stuck.missing, Missing::Counts);
    let lost = assembler.lose(&stuck).expect_err("everything is flushed");
    assert!(lost.to_string().contains("3.6.1"), "{lost}");
}

#[test]
fn repeated_rows_are_dropped_only_if_the_connector_keeps_its_counts() {
    for (connector, returned) in [("3.6.1.Final", 0), ("3.6.0.Final", 1)] {
        let row = |offset| row_of(connector, counted(offset, 11));
        let mut assembler = resumed();
        assembler.take(begin(10, 11)).expect("a begin");
        assembler.take(row(10)).expect("a row");
        assembler.take(end(11, 11, "app.users", 1)).expect("an end");
        assert_eq!(assembler.batch().checkpoint.position, upto(11));
        assembler.take(row(11)).expect("it may be another row with the same number");
        assert_eq!(assembler.batch().transactions.len(), returned, "{connector}");
    }
    let mut assembler = begun();
    assembler.take(row_of("3.6.0.Final", counted(98, 9))).expect("a row");
    assert!(assembler.batch().transactions.is_empty(), "the generation covers it");
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
    assert_eq!((flushed(&batch), &batch.checkpoint.position), (vec!["app.users"], &upto(11)));
    assert!(assembler.stuck().is_none(), "{:?}", assembler.stuck());
}

#[test]
fn a_table_that_is_mapped_in_another_case_is_counted_and_delivered() {
    let mut filter = TableFilter::new();
    filter.add("App.Users".into(), &Columns::All);
    let marker = Some((TableName::from("APP.Heartbeat"), "executed".into()));
    let topics = ControlTopics { transactions: "t.transaction".into(), definitions: "t".into() };
    let folded = Scope::new(&filter, marker, topics, false, &crate::KafkaSettings::default());
    let mut assembler = opened_with(folded, &resumed().resume());
    assembler.take(begin(10, 11)).expect("a begin");
    assembler.take(end(11, 11, "app.users", 1)).expect("an end");
    assert_eq!(assembler.batch().checkpoint.position, upto(10), "the row was not read");
    assembler.take(counted(10, 11)).expect("a row");
    let batch = assembler.batch();
    let Change::Row(row) = &batch.transactions[0].changes[0] else { panic!("a row") };
    assert_eq!((row.table.as_str(), &batch.checkpoint.position), ("App.Users", &upto(11)));
    assembler.take(statement(10, 12, "app.users")).expect("a statement");
    assert_eq!(flushed(&assembler.batch()), ["App.Users"]);
    beat(&mut assembler, 12, 15);
    let batch = assembler.batch();
    assert_eq!((batch.transactions.len(), &batch.checkpoint.position), (0, &upto(15)), "the marker is known");
}

#[test]
fn a_flattened_delete_without_a_value_names_the_setting() {
    let mut delete = row(100, 11, None);
    if let Ok(Event::Row { origin, .. }) = &mut delete.event {
        *origin = Origin::default();
    }
    let error = begun().take(delete).expect_err("its transaction is unknown");
    assert!(error.to_string().contains("delete.tombstone.handling.mode=rewrite"), "{error}");
}

/// The option is turned on while the source reads: rows before it have no order, and are not of XA transactions.
#[test]
fn rows_that_are_older_than_the_metadata_are_not_of_xa() {
    let mut resume = Resume::new(false);
    for partition in partitions() {
        let next = if &*partition.topic == "t.transaction" { 0 } else { 10 };
        resume.set(&partition.topic, 0, ResumePoint { next, seen: None });
    }
    let mut assembler = opened(&resume);
    assembler.take(row(10, 11, None)).expect("the connector does not count yet");
    assembler.take(counted(11, 13)).expect("it does, and its first BEGIN is not read yet");
    let flushed = assembler.take(begin(0, 12)).expect_err("the position is proven from here on");
    assert!(flushed.to_string().contains("from now on") && !assembler.uncounted(), "{flushed}");
    // The generation reads the last records before it again.
    let mut next = begun();
    next.take(begin(0, 12)).expect("it is counted from its beginning");
    next.take(end(1, 12, "app.users", 0)).expect("an end");
    next.take(row(98, 9, None)).expect("it is older than the option");
    beat(&mut next, 100, 14);
    assert_eq!(next.batch().checkpoint.position, upto(14), "positions are proven");
    let xa = next.take(row(100, 15, None)).expect_err("it is newer than the option");
    assert!(xa.to_string().contains("XA") && next.uncounted(), "{xa}");
}
