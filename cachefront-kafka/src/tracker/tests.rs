use super::*;

const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn gtid(number: u64) -> Gtid {
    Gtid { origin: SERVER.into(), number }
}

fn upto(end: u64) -> Position {
    format!("{SERVER}:1-{end}").parse().expect("a position")
}

fn users() -> TableName {
    TableName::from("app.users")
}

fn order(number: u64) -> BlockOrder {
    BlockOrder { in_transaction: number, in_table: number }
}

fn tracker() -> Tracker {
    Tracker::new(upto(10), 64)
}

/// One that reads a connector of this version.
fn tracker_of(version: &str) -> Tracker {
    let mut tracker = tracker();
    tracker.note_connector(ConnectorVersion::parse(version).expect("a version"));
    tracker
}

/// The rows 1 to `to` of a run of the connector, from offset `from` on.
fn rows(tracker: &mut Tracker, from: i64, to: u64) {
    for number in 1..=to {
        tracker.event(&gtid(11), &users(), order(number), (0, from + number as i64));
    }
}

fn counts_are_missing(tracker: &mut Tracker, why: &str) {
    tracker.advance();
    assert_eq!(tracker.position(), &upto(10), "{why}");
    assert_eq!(tracker.stuck(), Some(Stuck { gtid: gtid(11), missing: Missing::Counts }), "{why}");
}

#[test]
fn an_end_after_a_restart_of_the_connector_completes_nothing_early() {
    let mut tracker = tracker_of("3.6.0.Final");
    tracker.begin(&gtid(11), (9, 1));
    tracker.begin(&gtid(11), (9, 2));
    tracker.end(&gtid(11), vec![(users(), 2)], (9, 3));
    rows(&mut tracker, 0, 2);
    counts_are_missing(&mut tracker, "the first two of the five rows that the connector sent in two runs");
    rows(&mut tracker, 2, 3);
    counts_are_missing(&mut tracker, "a row has a number that the END does not count");
}

#[test]
fn counts_that_contradict_each_other_complete_nothing() {
    let mut tracker = tracker_of("3.6.1.Final");
    tracker.begin(&gtid(11), (9, 1));
    tracker.end(&gtid(11), vec![(users(), 5)], (9, 2));
    tracker.end(&gtid(11), Vec::new(), (9, 4));
    counts_are_missing(&mut tracker, "the second END counts fewer rows");
    let mut tracker = tracker_of("3.6.1.Final");
    rows(&mut tracker, 0, 3);
    tracker.begin(&gtid(11), (9, 1));
    tracker.end(&gtid(11), vec![(users(), 2)], (9, 2));
    counts_are_missing(&mut tracker, "a row has a number that the END does not count");
}

#[test]
fn a_repeated_begin_is_harmless_if_the_connector_keeps_its_counts() {
    let mut tracker = tracker_of("3.6.1.Final");
    tracker.begin(&gtid(11), (9, 1));
    rows(&mut tracker, 0, 1);
    tracker.begin(&gtid(11), (9, 2));
    rows(&mut tracker, 1, 2);
    tracker.end(&gtid(11), vec![(users(), 2)], (9, 3));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(11), "the connector has repeated the transaction from its beginning");
    let mut tracker = self::tracker();
    tracker.begin(&gtid(11), (9, 1));
    tracker.begin(&gtid(11), (9, 1));
    tracker.end(&gtid(11), Vec::new(), (9, 3));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(11), "the same record was read again");
}

#[test]
fn a_connector_of_another_version_is_noted_once() {
    let version = |text| ConnectorVersion::parse(text).expect("a version");
    let mut tracker = tracker();
    assert!(!tracker.keeps_counts(), "no version is known");
    assert!(!tracker.note_connector(version("3.7.0.Alpha1")) && tracker.keeps_counts());
    assert!(tracker.note_connector(version("2.7.4.Final")));
    assert!(!tracker.note_connector(version("2.7.4.Final")));
    assert!(!tracker.note_connector(version("3.6.1.Final")) && !tracker.keeps_counts(), "older records may still come");
}

#[test]
fn a_transaction_is_complete_with_its_end_and_its_last_event() {
    let mut tracker = tracker();
    tracker.event(&gtid(11), &users(), order(1), (0, 5));
    tracker.begin(&gtid(11), (9, 1));
    tracker.end(&gtid(11), vec![(users(), 2)], (9, 2));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(10), "one of two events is missing");
    tracker.event(&gtid(11), &users(), order(2), (1, 7));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(11));
}

#[test]
fn a_repeated_event_is_counted_once() {
    let mut tracker = tracker();
    tracker.end(&gtid(11), vec![(users(), 2)], (9, 2));
    tracker.event(&gtid(11), &users(), order(1), (0, 5));
    tracker.event(&gtid(11), &users(), order(1), (0, 6));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(10), "the second is the first again");
    let missing = Missing::Events { table: users(), read: 1, count: 2 };
    assert_eq!(tracker.stuck(), Some(Stuck { gtid: gtid(11), missing }));
}

#[test]
fn a_transaction_waits_for_those_before_it() {
    let mut tracker = tracker();
    tracker.begin(&gtid(11), (9, 1));
    tracker.end(&gtid(12), vec![(users(), 1)], (9, 2));
    tracker.event(&gtid(12), &users(), order(1), (0, 5));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(10));
    tracker.end(&gtid(11), Vec::new(), (9, 3));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(12));
}

#[test]
fn a_marker_takes_effect_when_all_before_it_is_complete() {
    let mut tracker = tracker();
    tracker.begin(&gtid(12), (9, 1));
    tracker.end(&gtid(20), vec![(users(), 1)], (9, 2));
    tracker.event(&gtid(20), &users(), order(1), (0, 5));
    tracker.marker(&gtid(20), upto(19));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(10), "12 is incomplete and precedes the marker");
    tracker.end(&gtid(12), Vec::new(), (9, 3));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(20));
}

#[test]
fn a_restart_resumes_at_the_oldest_incomplete_transaction() {
    let mut tracker = tracker();
    tracker.begin(&gtid(11), (2, 40));
    tracker.event(&gtid(11), &users(), order(1), (0, 5));
    tracker.event(&gtid(12), &users(), order(1), (0, 6));
    tracker.event(&gtid(12), &users(), order(2), (1, 3));
    let mut next = [9, 9, 50];
    tracker.rewind(&mut next);
    assert_eq!(next, [5, 3, 40]);
    tracker.end(&gtid(11), vec![(users(), 1)], (2, 41));
    tracker.advance();
    let mut next = [9, 9, 50];
    tracker.rewind(&mut next);
    assert_eq!(next, [6, 3, 50]);
}

#[test]
fn a_complete_transaction_is_not_tracked_again() {
    let mut tracker = tracker();
    tracker.begin(&gtid(7), (9, 1));
    tracker.end(&gtid(7), vec![(users(), 3)], (9, 2));
    assert!(tracker.is_past(&gtid(7)));
    assert_eq!(tracker.open(), (0, 0));
}

#[test]
fn a_statement_is_a_transaction_unless_counted_events_belong_to_it() {
    let mut tracker = tracker();
    tracker.alone(&gtid(11));
    assert_eq!(tracker.position(), &upto(11));
    tracker.begin(&gtid(12), (9, 1));
    tracker.alone(&gtid(12));
    assert_eq!(tracker.position(), &upto(11), "its rows are not read yet");
    tracker.end(&gtid(12), vec![(users(), 1)], (9, 2));
    tracker.event(&gtid(12), &users(), order(1), (0, 5));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(12));
}

#[test]
fn the_oldest_transaction_without_a_begin_is_stuck() {
    let mut tracker = tracker();
    for number in 11..2_000 {
        tracker.event(&gtid(number), &users(), order(1), (0, 5));
        if number != 12 {
            tracker.end(&gtid(number), vec![(users(), 1)], (9, 2));
        }
        tracker.advance();
    }
    assert_eq!(tracker.stuck(), Some(Stuck { gtid: gtid(12), missing: Missing::Begin }));
    assert!(tracker.awaiting.len() < 100, "{}", tracker.awaiting.len());
    tracker.begin(&gtid(12), (9, 3));
    assert_eq!(tracker.stuck(), None, "its END may still come");
}

#[test]
fn an_end_that_lists_its_tables_in_another_order_is_the_same() {
    let mut tracker = tracker_of("3.6.1.Final");
    let orders = || TableName::from("app.orders");
    tracker.begin(&gtid(11), (9, 1));
    tracker.end(&gtid(11), vec![(users(), 1), (orders(), 1)], (9, 2));
    tracker.begin(&gtid(11), (9, 3));
    tracker.end(&gtid(11), vec![(orders(), 1), (users(), 1)], (9, 4));
    tracker.event(&gtid(11), &users(), order(1), (0, 5));
    tracker.event(&gtid(11), &orders(), order(1), (1, 5));
    tracker.advance();
    assert_eq!(tracker.position(), &upto(11));
}

#[test]
fn the_position_stays_bounded() {
    let mut tracker = Tracker::new(Position::new(), 4);
    for number in 1..100 {
        tracker.end(&gtid(number * 2), Vec::new(), (9, 1));
    }
    tracker.advance();
    let ranges: usize = tracker.position().ranges().map(|(_, ranges)| ranges.len()).sum();
    assert_eq!(ranges, 4);
    assert!(tracker.is_past(&gtid(198)), "the newest are kept");
}

#[test]
fn ranges_count_distinct_numbers_in_any_order() {
    let mut ranges = Ranges::default();
    for number in [5, 1, 2, 5, 4, 3, 9, 1] {
        ranges.insert(number);
    }
    assert_eq!(ranges.count(), 6);
    assert_eq!(ranges.0, [(1, 5), (9, 9)]);
}
