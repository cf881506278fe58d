//! A hop is what was measured, of this write and of no other.

use cachefront::bus::Publisher;
use cachefront::clock::SystemClock;

use super::*;
use crate::change_times::ChangeTimes;

fn change(op: &str, times: ChangeTimes) -> Change {
    let keys = vec!["users:7".to_owned(), "users_by_email:a@x".to_owned()];
    Change { table: "main.users".into(), op: op.into(), keys, position: "a:1".into(), times }
}

fn times() -> ChangeTimes {
    ChangeTimes {
        committed_us: Some(1_000_000),
        captured_us: Some(1_002_500),
        // To the millisecond: before it was captured.
        queued_us: Some(1_002_000),
        received_us: Some(1_004_000),
        visible_us: Some(1_005_000),
        applied_us: Some(1_007_000),
    }
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn arrival(sent: u64, key: &str) -> Arrival {
    Arrival { at: at(sent + 500), sent_at: at(sent), keys: vec![key.into()] }
}

fn read(id: u64, began: u64, position: &str) -> Read {
    Read { id, span: span(began), position: position.parse().expect("a position") }
}

fn span(began: u64) -> Span {
    Span { began: at(began), ended: at(began + 400) }
}

fn write(times: ChangeTimes) -> Write {
    Write::new(change("update", times), true)
}

fn hop(write: &Write, name: HopName) -> Hop {
    write.view().hops.into_iter().find(|hop| hop.hop == name).expect("every hop is there")
}

#[test]
fn hops_follow_each_other_on_one_axis() {
    let mut write = write(times());
    write.heard(&arrival(1_006_000, "users:7"));
    write.seen(&read(7, 1_008_000, "a:1-3"));
    let spans: Vec<(f64, f64)> =
        write.view().hops.iter().map(|hop| (hop.from_ms.unwrap(), hop.to_ms.unwrap())).collect();
    assert_eq!(spans, [(0.0, 2.5), (2.5, 2.5), (2.5, 4.0), (4.0, 5.0), (5.0, 7.0), (6.0, 6.5), (8.0, 8.4)]);
}

#[test]
fn what_was_not_measured_says_why_and_is_no_zero() {
    let direct = ChangeTimes { captured_us: None, queued_us: None, ..times() };
    let ttl = ChangeTimes { visible_us: None, applied_us: None, ..direct };
    for (times, missing) in [
        (direct, vec![HopName::Captured, HopName::Queued, HopName::Push, HopName::FirstRead]),
        (
            ttl,
            vec![
                HopName::Captured,
                HopName::Queued,
                HopName::Gate,
                HopName::Removal,
                HopName::Push,
                HopName::FirstRead,
            ],
        ),
        (ChangeTimes::default(), write(ChangeTimes::default()).view().hops.iter().map(|hop| hop.hop).collect()),
    ] {
        let view = write(times).view();
        let unmeasured = view.hops.iter().filter(|hop| hop.not_measured.is_some()).map(|hop| hop.hop);
        assert_eq!(unmeasured.collect::<Vec<_>>(), missing);
        assert!(view.hops.iter().all(|hop| hop.not_measured.is_some() == hop.to_ms.is_none()), "{view:?}");
    }
    let unwatched = Write { watched: false, ..write(times()) };
    assert_ne!(hop(&unwatched, HopName::Push), hop(&write(times()), HopName::Push), "another reason");
}

#[test]
fn the_push_of_another_write_and_a_read_of_before_do_not_count() {
    let mut write = write(times());
    for other in [arrival(1_004_999, "users:7"), arrival(1_007_001, "users:7"), arrival(1_006_000, "users:70")] {
        write.heard(&other);
    }
    assert_eq!(write.push, None);
    // Only what a value is proven to contain counts, not when it was read: these are values of before the write, or of another user.
    for other in
        [read(7, 1_020_000, "a:2-9"), read(7, 1_020_000, "b:1"), read(7, 1_020_000, ""), read(8, 1_009_000, "a:1")]
    {
        write.seen(&other);
    }
    assert_eq!(write.first_read, None);
    write.seen(&read(7, 1_020_000, "a:1-4,b:1"));
    write.seen(&read(7, 1_004_500, "a:1"));
    write.seen(&read(7, 1_030_000, "a:1"));
    assert_eq!(write.first_read, Some(span(1_004_500)), "the first one, whichever was noted first");
}

#[test]
fn a_write_without_a_position_is_proven_by_no_read() {
    for position in ["", "binlog.000001"] {
        let mut write = Write::new(Change { position: position.into(), ..change("update", times()) }, true);
        write.seen(&read(7, 1_020_000, "a:1-9"));
        assert_eq!(hop(&write, HopName::FirstRead).not_measured, Some("its transaction has no position"), "{position}");
    }
}

#[test]
fn a_read_is_noted_while_it_is_watched_and_if_it_proves_anything() {
    let writes = Writes::new(Arc::new(SystemClock::new()));
    writes.record(change("update", times()));
    let first_read = || writes.find("a:1", "users:7").and_then(|view| view.hops.last().and_then(|hop| hop.to_ms));
    let ended = |position: Option<&str>| {
        let position: Option<Position> = position.map(|text| text.parse().expect("a position"));
        writes.proven(7, writes.clock.now(), position.as_ref());
    };
    ended(Some("a:1"));
    assert_eq!(first_read(), None, "it is not watched");
    writes.set_watching(true);
    ended(None);
    ended(Some("b:1"));
    assert_eq!(first_read(), None);
    ended(Some("a:1"));
    assert!(first_read().is_some());
}

#[test]
fn an_invalidation_and_a_read_may_be_noted_before_the_event() {
    let writes = Writes::new(Arc::new(SystemClock::new()));
    writes.set_watching(true);
    writes.arrived(&BusMessage {
        publisher: Publisher(1),
        event: BusEvent::Keys(vec!["users:7".into()]),
        applied: None,
        source_time: Timestamp::UNKNOWN,
        sent_at: at(1_006_000),
    });
    writes.note_read(read(7, 1_009_000, "a:1"));
    writes.record(change("update", times()));
    let view = writes.find("a:1", "users:7").expect("the write");
    assert!(view.hops.iter().all(|hop| hop.not_measured.is_none()), "{view:?}");
    assert_eq!(writes.find("a:1", "users:8"), None);
    for _ in 0..2 * WRITES_MAX {
        writes.record(change("insert", times()));
    }
    assert_eq!(writes.latest(usize::MAX).len(), WRITES_MAX);
}

#[test]
fn early_invalidations_are_bounded_by_their_size_too() {
    let of = |keys: usize| Arrival { keys: vec!["users:1234567".into(); keys], ..arrival(1, "") };
    let mut arrivals = Arrivals::default();
    for _ in 0..40 {
        arrivals.keep(of(2_000));
    }
    let sum = |arrivals: &Arrivals| arrivals.all.iter().map(Arrival::bytes).sum::<usize>();
    assert!((15..40).contains(&arrivals.all.len()), "{}", arrivals.all.len());
    assert!(arrivals.bytes <= EARLY_BYTES_MAX && arrivals.bytes == sum(&arrivals));
    let before = arrivals.all.len();
    arrivals.keep(of(100_000));
    assert_eq!(arrivals.all.len(), before, "one that is too large drops no other");
    for _ in 0..EARLY_MAX + 5 {
        arrivals.keep(of(1));
    }
    assert_eq!((arrivals.all.len(), arrivals.bytes), (EARLY_MAX, sum(&arrivals)));
}
