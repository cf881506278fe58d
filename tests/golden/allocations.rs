//! What the decoder allocates: a fixed number of times for an event, however many rows it has.

use cachefront_binlog::BinlogFile;
use cachefront_core::source::{Columns, TableFilter};

use crate::fuzzed::logs::Log;

/// Rows events of a table (id INT, name VARCHAR(50), note TEXT), each of an update of this many rows.
fn updates(events: u32, rows: u32) -> Log {
    let mut log = Log::new();
    for event in 0..events {
        log.begin(u64::from(event) + 1);
        log.statement(&[], b"BEGIN");
        log.table(
            &[3, 15, 252],
            &[50, 0, 2],
            &[4, 13, 2, b'i', b'd', 4, b'n', b'a', b'm', b'e', 4, b'n', b'o', b't', b'e'],
        );
        let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 7, 7];
        for row in 0..rows {
            for name in [&b"before"[..], b"after"] {
                body.push(0);
                body.extend((event * rows + row).to_le_bytes());
                body.push(name.len() as u8);
                body.extend(name);
                body.extend(3_u16.to_le_bytes());
                body.extend(b"abc");
            }
        }
        log.event(31, &body);
        log.commit();
    }
    log
}

/// Allocations and the most bytes at once, and the number of changes.
fn read(log: &Log, columns: &Columns) -> (u64, u64, usize) {
    let file = BinlogFile::new(log.bytes()).expect("a log");
    let mut filter = TableFilter::new();
    filter.add("shop.users".into(), columns);
    let mut changes = 0;
    let used = allocation_counter::measure(|| {
        for transaction in file.transactions(&filter) {
            changes += transaction.expect("a transaction").changes.len();
        }
    });
    (used.count_total, used.bytes_max, changes)
}

#[test]
fn a_row_takes_no_allocation() {
    for columns in [Columns::Only(vec!["id".into()]), Columns::All] {
        let (few, many) = (read(&updates(50, 1), &columns), read(&updates(50, 1_000), &columns));
        assert_eq!((few.2, many.2), (50, 50_000));
        // The block of an event is made larger once, when the size of its first row is known.
        assert!(many.0 <= few.0 + 2 * 50, "{columns:?}: {} allocations for 50 rows, {} for 50,000", few.0, many.0);
    }
}

#[test]
fn memory_does_not_grow_with_the_length_of_a_log() {
    let key = Columns::Only(vec!["id".into()]);
    let (short, long) = (read(&updates(20, 100), &key), read(&updates(2_000, 100), &key));
    assert_eq!(long.2, 200_000);
    assert!(long.1 <= short.1 + (64 << 10), "{} bytes for 2,000 rows, {} for 200,000", short.1, long.1);
}
